"""What the final ranking goes by: how far each feature moves items within a list, and how the score
changes with it while all else stays as it is.

Both are told in deviations of the scores within a list, for scores of different users cannot be
compared. The second is by accumulated local effects (Apley and Zhu 2020): features of a candidate
hang together, and a mean over all candidates with one of them set to a value, as in a partial
dependence plot, would ask the ranking about items that cannot be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apps.recommender.feature_readings import reading
from apps.recommender.features import Matrix
from apps.recommender.listing import describe_users
from apps.recommender.ranking import Ranking
from apps.recommender.recommender import Recommender
from apps.recommender.retrieval import Rows
from shared.evaluation.intervals import Interval, Statistic, bootstrap, mean_of

# A sample on which a shop of any size is answered in seconds.
USERS, EACH = 200, 60
STEPS = 20
RESAMPLES = 400
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RankedSample:
    """Candidates of some users as the ranking reads them. user: (m,) 0…u-1, sorted. inputs: (m, n)
    as Ranking.inputs. unit: the deviation of the scores within a user's candidates.
    """

    ranking: Ranking
    user: Rows
    inputs: Matrix
    unit: float
    threads: int | None = None

    @property
    def users(self) -> int:
        return int(self.user[-1]) + 1 if len(self.user) else 0

    def within(self, values: Numbers) -> Numbers:
        """(m, n) values less the means of the user's candidates."""
        means = _sums(values, self.user, self.users) / self.sizes[:, None]
        return values - means[self.user]

    @property
    def sizes(self) -> Rows:
        """(u,) candidates of each user."""
        return np.bincount(self.user, minlength=self.users)


@dataclass(frozen=True)
class Weight:
    """moves: by how many deviations the features of a group move a candidate away from the mean of
    its list, in the mean; 95 % interval over users. features: as Ranking.reads names them."""

    group: str
    features: tuple[str, ...]
    moves: Interval


@dataclass(frozen=True)
class Effect:
    """How the score changes with one feature. at: values of the feature, ascending; effect, low,
    high: of each, in deviations, with the 95 % interval over users; 0 is the mean candidate.
    unknown: share of the candidates for which the feature is not known."""

    feature: str
    at: tuple[float, ...]
    effect: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    unknown: float


def sample_of(
    recommender: Recommender, *, users: int = USERS, each: int = EACH, seed: int = 13
) -> RankedSample:
    """`each` candidates, drawn by lot, of `users` users, evenly from the log's."""
    bundle = recommender.bundle
    places = np.linspace(0, len(recommender.users) - 1, users)
    asked = np.unique(places.astype(np.int64)) if len(recommender.users) else np.empty(0, np.int64)
    known = describe_users(bundle.channels, recommender.facts, asked)
    owner = known.found.user
    lot = np.random.default_rng(seed).random(len(owner))
    order = np.lexsort((lot, owner))
    place = np.arange(len(order)) - np.searchsorted(owner, owner)
    kept = np.sort(order[place < each])
    _, user = np.unique(owner[kept], return_inverse=True)
    inputs = bundle.ranking.inputs(known.features)[kept]
    return ranked_sample(bundle.ranking, user, inputs, recommender.threads)


def ranked_sample(
    ranking: Ranking, user: Rows, inputs: Matrix, threads: int | None = None
) -> RankedSample:
    """user, inputs: see RankedSample."""
    sample = RankedSample(ranking, user, inputs, 1.0, threads)
    score = ranking.scores_of(inputs, threads).astype(np.float64)
    unit = float(np.sqrt(np.mean(sample.within(score[:, None]) ** 2))) if len(user) else 0.0
    return replace(sample, unit=unit or 1.0)


def weights_of(sample: RankedSample) -> list[Weight]:
    """Of every group of features, the heaviest first; those that move nothing are left out."""
    if not len(sample.user):
        return []
    reads = sample.ranking.reads
    parts = sample.within(sample.ranking.parts_of(sample.inputs, sample.threads)) / sample.unit
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(reads):
        groups.setdefault(reading(name).group, []).append(column)
    found = []
    for group, columns in groups.items():
        moved = np.abs(parts[:, columns].sum(1, keepdims=True))
        by_user = (_sums(moved, sample.user, sample.users) / sample.sizes[:, None])[:, 0]
        moves = bootstrap(mean_of(by_user), sample.users, resamples=RESAMPLES)
        # Within a group the feature that moves most comes first.
        columns.sort(key=lambda column: -float(np.abs(parts[:, column]).sum()))
        used = tuple(reads[column] for column in columns if np.abs(parts[:, column]).any())
        found.append(Weight(group, used, moves))
    return sorted((w for w in found if w.features), key=lambda weight: -weight.moves.value)


def effect_of(sample: RankedSample, feature: str, *, steps: int = STEPS) -> Effect | None:
    """None where the feature has one value or none in the sample.

    feature: one of Ranking.reads. steps: intervals at most.
    """
    column = sample.ranking.reads.index(feature)
    values = sample.inputs[:, column]
    known = ~np.isnan(values)
    if not known.any():
        return None
    # Narrow at both ends: what is best by a feature is rare, and decides the first places.
    quantiles = (1 - np.cos(np.linspace(0, np.pi, steps + 1))) / 2
    edges = np.unique(np.quantile(values[known], quantiles, method="inverted_cdf"))
    if len(edges) < 2:
        return None
    user, inside = sample.user[known], sample.inputs[known]
    # Interval k is what lies above edge k and up to edge k+1; the least value is in the first.
    interval = np.maximum(np.searchsorted(edges, inside[:, column], "left") - 1, 0)
    change = _scores_at(sample, inside, column, edges[interval + 1]) - _scores_at(
        sample, inside, column, edges[interval]
    )
    shape = (sample.users, len(edges) - 1)
    cell = user * shape[1] + interval
    changes = np.bincount(cell, change / sample.unit, shape[0] * shape[1]).reshape(shape)
    counts = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)

    def curve(drawn: Numbers) -> Numbers:
        """(b, len(edges)) of resamples that hold each user so often, (b, users)."""
        count = drawn @ counts
        steps = drawn @ changes / np.maximum(count, 1)
        summed = np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)
        middle = (summed[:, 1:] + summed[:, :-1]) / 2
        mean = (middle * count).sum(1) / np.maximum(count.sum(1), 1)
        return np.asarray(summed - mean[:, None])

    def at_edge(place: int) -> Statistic:
        return lambda drawn: curve(drawn)[:, place]

    told = [
        bootstrap(at_edge(place), sample.users, resamples=RESAMPLES) for place in range(len(edges))
    ]
    return Effect(
        feature,
        tuple(map(float, edges)),
        tuple(point.value for point in told),
        tuple(point.low for point in told),
        tuple(point.high for point in told),
        float(1 - known.mean()),
    )


def effects_of(sample: RankedSample, features: Sequence[str]) -> list[Effect]:
    """Of those among them that vary in the sample."""
    found = (effect_of(sample, feature) for feature in features)
    return [effect for effect in found if effect is not None]


def _scores_at(
    sample: RankedSample, inputs: Matrix, column: int, values: NDArray[np.float32]
) -> Numbers:
    """(m,) the scores with one column set to these values."""
    changed = inputs.copy()
    changed[:, column] = values
    return sample.ranking.scores_of(changed, sample.threads).astype(np.float64)


def _sums(values: Numbers, user: Rows, users: int) -> Numbers:
    """(users, n) of (m, n) rows."""
    summed = np.zeros((users, values.shape[1]))
    np.add.at(summed, user, values)
    return summed
