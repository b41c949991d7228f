"""How good lists are: per user against what the user took next, in the whole catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from apps.recommender.retrieval import Rows
from apps.recommender.splits import Split
from shared.evaluation.intervals import bootstrap, mean_of, paired_bootstrap
from shared.evaluation.metrics import ndcg_at, recall_at, reciprocal_rank
from shared.evaluation.report import Baseline, Measure, Slice

DEPTH = 10
# Train counts that part the items, history lengths that part the users.
ITEM_SLICES = (("new items", 0, 0), ("items taken 1-5 times", 1, 5),
               ("items taken 6-20 times", 6, 20), ("items taken more often", 21, None))  # fmt: skip
USER_SLICES = (("users with 1-4 items", 1, 4), ("users with 5-20 items", 5, 20),
               ("users with more items", 21, None))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Targets:
    """What some users took. users: (u,) indices; wanted: (u, items) sparse, 1 where taken.

    A target that the user has had before stays a target: a list without it misses it.
    """

    users: Rows
    wanted: sp.csr_matrix

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True, eq=False)
class Judged:
    """Per user, each (u,): ndcg, recall, mrr at DEPTH. shown: distinct items in all lists as a
    share of the catalogue, 0..1.
    """

    ndcg: NDArray[np.float64]
    recall: NDArray[np.float64]
    mrr: NDArray[np.float64]
    shown: float

    def measures(self, seed: int) -> tuple[Measure, ...]:
        """With bootstrap intervals over users."""
        named = {f"NDCG@{DEPTH}": self.ndcg, f"recall@{DEPTH}": self.recall, "MRR": self.mrr}
        found = [_measure(name, values, seed) for name, values in named.items()]
        return (*found, Measure("coverage", self.shown, None, None, len(self.ndcg)))


def targets_of(split: Split, users: NDArray[np.bool_] | None = None) -> Targets:
    """The targets of (the marked) users who have a history."""
    has_past = np.diff(split.known.starts) > 0
    chosen = has_past if users is None else has_past & users
    rows = chosen[split.user]
    own, place = np.unique(split.user[rows], return_inverse=True)
    wanted = sp.csr_matrix(
        (np.ones(len(place), np.float32), (place, split.item[rows])),
        shape=(len(own), split.known.n_items),
    )
    return Targets(own, wanted)


def judge(lists: Rows, targets: Targets) -> Judged:
    """lists: (u, ≥ DEPTH) items best first, -1 for none.

    A target at place 3 of a user with one: NDCG .5, recall 1, MRR .333.
    """
    lists = lists[:, :DEPTH]
    hit = hits(lists, targets.wanted)
    count = np.asarray(targets.wanted.sum(1)).ravel().astype(np.int64)
    shown = np.unique(lists[lists >= 0])
    return Judged(
        ndcg_at(hit, count, DEPTH),
        recall_at(hit, count, DEPTH),
        reciprocal_rank(hit),
        len(shown) / targets.wanted.shape[1],
    )


def hits(lists: Rows, wanted: sp.csr_matrix) -> NDArray[np.bool_]:
    """(u, k) whether the listed item is wanted."""
    user = np.repeat(np.arange(len(lists)), lists.shape[1])
    found = np.asarray(wanted[user, np.maximum(lists, 0).ravel()]).reshape(lists.shape)
    return (found > 0) & (lists >= 0)


def slices_of(lists: Rows, targets: Targets, split: Split, seed: int) -> tuple[Slice, ...]:
    """Recall by how often the target was taken before, NDCG by how much of the user is known."""
    found: list[Slice] = []
    lists = lists[:, :DEPTH]
    owner, item = targets.wanted.nonzero()
    taken = split.known.counts[item]
    listed = (lists[owner] == item[:, None]).any(1)
    for name, least, most in ITEM_SLICES:
        rows = _between(taken, least, most)
        if rows.any():
            found.append(Slice(name, int(rows.sum()), recalled(listed[rows], seed)))
    judged = judge(lists, targets)
    known = np.diff(split.known.starts)[targets.users]
    for name, least, most in USER_SLICES:
        rows = _between(known, least, most)
        if rows.any():
            measure = _measure(f"NDCG@{DEPTH}", judged.ndcg[rows], seed)
            found.append(Slice(name, int(rows.sum()), (measure,)))
    return tuple(found)


def recalled(listed: NDArray[np.bool_], seed: int) -> tuple[Measure, ...]:
    """Recall where each target (t,) is in its list of DEPTH or not."""
    return (_measure(f"recall@{DEPTH}", listed.astype(np.float64), seed),)


def new_item_recall(lists: Rows, targets: Targets, split: Split, seed: int) -> Slice | None:
    """Recall of the targets that nobody has taken before, at each depth that the lists have: the
    first DEPTH, and all. None where there is no such target."""
    owner, item = targets.wanted.nonzero()
    new = split.known.counts[item] == 0
    if not new.any():
        return None
    listed = lists[owner[new]] == item[new, None]
    measures = [
        _measure(f"recall@{depth}", listed[:, :depth].any(1).astype(np.float64), seed)
        for depth in sorted({DEPTH, lists.shape[1]})
    ]
    return Slice(ITEM_SLICES[0][0], int(new.sum()), tuple(measures))


def baselines(rivals: Mapping[str, Judged], seed: int) -> tuple[Baseline, ...]:
    """Best first."""
    ordered = sorted(rivals.items(), key=lambda pair: -pair[1].ndcg.mean())
    return tuple(Baseline(name, judged.measures(seed)) for name, judged in ordered)


@dataclass(frozen=True)
class Against:
    """NDCG@DEPTH minus that of `rival`, over the same users, with the 95 % interval."""

    rival: str
    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not told apart"

    def line(self, kind: str = "rival") -> str:
        """kind: what a person is told that the rivals are."""
        return f"NDCG@{DEPTH} against the best {kind}, {self.rival}: {self.difference}"

    @property
    def difference(self) -> str:
        """For a person."""
        return (
            f"{self.gain:+.4f} (95 % interval {self.low:+.4f} to {self.high:+.4f}): {self.verdict}"
        )


def against_best(ours: Judged, rivals: Mapping[str, Judged], seed: int) -> Against | None:
    """The paired difference to the best rival, over the same users; None without any."""
    if not rivals:
        return None
    name = max(rivals, key=lambda rival: rivals[rival].ndcg.mean())
    return against(ours, name, rivals[name], seed)


def against(ours: Judged, name: str, other: Judged, seed: int) -> Against:
    """The paired difference to a rival of that name, over the same users."""
    paired = paired_bootstrap(mean_of(ours.ndcg), mean_of(other.ndcg), len(ours.ndcg), seed=seed)
    return Against(name, paired.value, paired.low, paired.high)


def compared(ours: Judged, rivals: Mapping[str, Judged], seed: int, kind: str = "rival") -> str:
    """One line on the paired difference to the best rival, over the same users. kind: what a
    person is told that these are."""
    return told(against_best(ours, rivals, seed), kind)


def told(found: Against | None, kind: str = "rival") -> str:
    """The line of a comparison, also where there was none to compare with. kind: see `compared`."""
    return f"no {kind} was run" if found is None else found.line(kind)


def _between(values: Rows, least: int, most: int | None) -> NDArray[np.bool_]:
    return (values >= least) & (values <= (np.inf if most is None else most))


def _measure(name: str, values: NDArray[np.float64], seed: int) -> Measure:
    found = bootstrap(mean_of(values), len(values), seed=seed)
    return Measure(name, found.value, found.low, found.high, len(values))
