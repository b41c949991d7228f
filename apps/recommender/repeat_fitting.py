"""Learning from a held-out part what is taken again, and whether lists are better with it."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.features import ItemFacts
from apps.recommender.listing import ranked_items
from apps.recommender.quality import DEPTH, Targets, hits, judge
from apps.recommender.ranking import Ranking
from apps.recommender.repeats import (
    Chance,
    RepeatModel,
    Repeats,
    fit_chance,
    place_traits,
    rows_of,
    traits,
)
from apps.recommender.retrieval import Channels, Rows, after
from apps.recommender.settings import RankingSettings
from apps.recommender.splits import Split
from apps.recommender.takings import takings_of
from shared.evaluation.intervals import mean_of, paired_bootstrap

# Fewer items that were taken again say nothing about a habit.
LEAST_AGAIN = 30
# Users are parted into so many: each part is judged by what the others taught.
FOLDS = 4
# As of the ranking, see fitting.TAUGHT_USERS.
MOST_USERS = 12_000


@dataclass(frozen=True, eq=False)
class RepeatFit:
    """repeats: over what is known of the held-out part, None where nothing is offered again. note:
    for a person, why."""

    repeats: Repeats | None
    note: str


def all_targets(split: Split) -> Targets:
    """What users with a history took after the moment, new or again."""
    known = split.known
    user = np.concatenate([split.user, split.again.user])
    item = np.concatenate([split.item, split.again.item])
    rows = (np.diff(known.starts) > 0)[user]
    own, place = np.unique(user[rows], return_inverse=True)
    ones = np.ones(len(place), np.float32)
    return Targets(own, sp.csr_matrix((ones, (place, item[rows])), (len(own), known.n_items)))


def fit_repeats(
    channels: Channels,
    facts: ItemFacts,
    ranking: Ranking,
    split: Split,
    *,
    seed: int,
    threads: int | None,
) -> RepeatFit:
    """channels, ranking: taught without the targets of `split`, which has those of the users who
    choose. Repeats are offered where NDCG@10 over all that they took is better with them beyond
    noise.
    """
    settings = channels.settings.ranking
    if not settings.again_places:
        return RepeatFit(None, "nothing is offered again: again_places = 0")
    if split.name != "time":
        return RepeatFit(
            None, "nothing is offered again: only a log cut in time tells what is taken again"
        )
    if len(split.again) < LEAST_AGAIN:
        return RepeatFit(
            None,
            f"nothing is offered again: of those who choose only {len(split.again):,} took an item "
            f"again ({LEAST_AGAIN} are needed)",
        )
    rng = np.random.default_rng(seed)
    asked = all_targets(split)
    some = np.sort(rng.permutation(len(asked))[:MOST_USERS])
    asked = Targets(asked.users[some], asked.wanted[some])
    lists = _lists(channels, facts, ranking, asked.users, threads, None)
    taught = _Teaching(split, asked, lists, settings)
    fold = rng.integers(0, FOLDS, len(asked))
    joined = lists.copy()
    for number in range(FOLDS):
        judged = fold == number
        users = asked.users[judged]
        joined[judged] = _lists(channels, facts, ranking, users, threads, taught.by(~judged))
    without, with_ = judge(lists, asked).ndcg, judge(joined, asked).ndcg
    gain = paired_bootstrap(mean_of(with_), mean_of(without), len(asked), seed=seed)
    repeats = taught.by(np.ones(len(asked), bool))
    model = replace(
        repeats.model,
        share=float(len(split.again) / (len(split) + len(split.again))),
        before=float(without.mean()),
        after=float(with_.mean()),
        low=gain.low,
        high=gain.high,
    )
    if gain.low <= 0:
        why = f"nothing is offered again, lists are not better with it beyond noise: {model.line}"
        return RepeatFit(None, why)
    return RepeatFit(replace(repeats, model=model), f"offered again: {model.line}")


def _lists(
    channels: Channels,
    facts: ItemFacts,
    ranking: Ranking,
    users: Rows,
    threads: int | None,
    repeats: Repeats | None,
) -> Rows:
    """(u, DEPTH)"""
    return ranked_items(channels, facts, ranking, users, DEPTH, threads=threads, repeats=repeats)


class _Teaching:
    """What teaches both chances: of each user and item taken, whether it was taken again, and of
    each place of a user's list, whether what stood there was taken."""

    def __init__(
        self, split: Split, asked: Targets, lists: Rows, settings: RankingSettings
    ) -> None:
        known = split.known
        assert known.events is not None
        nothing = Chance((), 0.0)
        model = RepeatModel(
            nothing, nothing, settings.again_places, settings.again_after, known.events.kinds
        )
        self._repeats = Repeats(model, takings_of(known), known.n_users, known.n_items)
        now = np.full(len(asked), after(known))
        habits = self._repeats.habits
        self._owner, rows = rows_of(habits, asked.users)
        self._traits = traits(habits, rows, now[self._owner])
        wanted = np.asarray(asked.wanted[self._owner, habits.item[rows]]).ravel()
        self._again: NDArray[np.bool_] = wanted > 0
        self._listed = lists >= 0
        self._place = place_traits(habits, asked.users, now, lists.shape[1])
        self._hit = hits(lists, asked.wanted)

    def by(self, users: NDArray[np.bool_]) -> Repeats:
        """As the marked users (u,) teach it."""
        pairs = users[self._owner]
        places = self._listed & users[:, None]
        model = replace(
            self._repeats.model,
            taken=fit_chance(self._traits[pairs], self._again[pairs]),
            placed=fit_chance(self._place[places], self._hit[places]),
        )
        return replace(self._repeats, model=model)
