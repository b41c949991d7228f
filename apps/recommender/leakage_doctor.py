"""What would flatter an evaluation on a log: ties in the order of ids, what a user had before, and
other users' later events."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from apps.recommender.behaviour_doctor import EventTable
from shared.data_findings import Finding

# Of pairs of neighbouring rows with one time: fewer say nothing.
LEAST_TIES = 20
# One-sided p of so many ties in one direction by chance.
SURE = 1e-6
WORTH_TELLING = 0.05


@dataclass(frozen=True)
class Ties:
    """Neighbouring rows of one user with one time and two items: pairs, of which so many are
    ascending by id."""

    pairs: int
    ascending: int

    @property
    def p(self) -> float:
        """Of an order this one-sided, or more, where none is: two-sided exact sign test."""
        if not self.pairs:
            return 1.0
        return float(stats.binomtest(self.ascending, self.pairs, 0.5).pvalue)


def tie_order(frame: pd.DataFrame) -> Ties:
    """frame: user, item, time in the file's order. Numbers are compared as numbers.

    Items 9, 10, 11 of one user at one moment: 2 pairs, both ascending.
    """
    user, item = frame["user"].to_numpy(), frame["item"]
    numbers = pd.to_numeric(item, errors="coerce")
    ids = numbers.to_numpy(np.float64) if numbers.notna().all() else item.to_numpy()
    time = frame["time"].to_numpy(np.int64)
    tied = (user[1:] == user[:-1]) & (time[1:] == time[:-1]) & (ids[1:] != ids[:-1])
    rising = ids[1:][tied] > ids[:-1][tied]
    return Ties(int(tied.sum()), int(np.asarray(rising, bool).sum()))


def check_leakage(table: EventTable, held_out: EventTable | None = None) -> list[Finding]:
    """held_out: events to judge by that are in a file of their own."""
    frame = table.pairs()
    if frame.empty:
        return []
    own = [*_ties(table, frame), *_repeated_targets(table, frame), *_later_events(table, frame)]
    return own if held_out is None else [*own, *_held_out(table, frame, held_out)]


def _ties(table: EventTable, frame: pd.DataFrame) -> Iterator[Finding]:
    if not table.has_clock:
        return
    ties = tie_order(frame)
    last = frame["time"].to_numpy() == frame.groupby("user")["time"].transform("max").to_numpy()
    at_end = frame[last].drop_duplicates(["user", "item"]).groupby("user").size()
    unsure = int((at_end > 1).sum())
    if ties.pairs >= LEAST_TIES and ties.p < SURE:
        way = "ascending" if 2 * ties.ascending > ties.pairs else "descending"
        most = max(ties.ascending, ties.pairs - ties.ascending)
        yield Finding(
            "warning",
            f"ties in time are in the order of ids: {most:,} of {ties.pairs:,} neighbours are "
            f"{way}",
            table.path.name,
            "a split by place in the file would teach the ids; here ties are drawn by the seed. "
            "Figures of others that keep the file's order are too high",
        )
    if unsure > WORTH_TELLING * len(at_end):
        yield Finding(
            "note",
            f"the last item of {unsure:,} of {len(at_end):,} users is tied with another one",
            table.path.name,
            "which of them is held out is drawn by the seed: compare systems on one seed",
        )


def _repeated_targets(table: EventTable, frame: pd.DataFrame) -> Iterator[Finding]:
    """The user's last event is on an item of the history, other items in between: who looks at an
    item and then buys it does one thing."""
    order = np.lexsort((np.arange(len(frame)), frame["time"].to_numpy(), frame["user"]))
    by_user = frame.iloc[order]
    goes_on = (by_user["user"] == by_user["user"].shift()) & (
        by_user["item"] == by_user["item"].shift()
    )
    sorted_rows = by_user[~goes_on]
    again = sorted_rows.duplicated(["user", "item"]).to_numpy(bool)
    last = ~sorted_rows.duplicated("user", keep="last").to_numpy(bool)
    many = sorted_rows["user"].map(sorted_rows["user"].value_counts()).to_numpy() > 1
    judged = int((last & many).sum())
    repeated = int((last & many & again).sum())
    if repeated > WORTH_TELLING * max(1, judged):
        yield Finding(
            "warning",
            f"{repeated:,} of {judged:,} users end on an item that they had before",
            table.path.name,
            "target in history: a list without what was seen misses them, one with it finds them "
            "without learning anything. Here what is taken again is judged apart, and offered "
            "where that serves users better",
        )


def _later_events(table: EventTable, frame: pd.DataFrame) -> Iterator[Finding]:
    """How much a leave-last-out split lets a model see of what came after its targets."""
    if not table.has_clock:
        yield Finding(
            "note",
            "without times only the last item of each user can be held out",
            table.path.name,
            "other users' later events are then known to every model: figures are too high",
        )
        return
    pairs = frame.groupby(["user", "item"], sort=False)["time"].max().reset_index()
    ends = pairs.groupby("user")["time"].agg(["max", "size"])
    targets = ends.loc[ends["size"] > 1, "max"].to_numpy(np.int64)
    if not len(targets):
        return
    share = seen_after(pairs["time"].to_numpy(np.int64), targets)
    if share > WORTH_TELLING:
        yield Finding(
            "note",
            f"leave-last-out would let a model see {share:.0%} of the log after the moment that it "
            "is judged at, in the mean",
            table.path.name,
            '[recommender] held_out = "time" cuts at one moment for all; "auto" does so where '
            "enough users act on both sides",
        )


def seen_after(times: NDArray[np.int64], targets: NDArray[np.int64]) -> float:
    """Mean share of `times` that lie after each target: 0 to 1.

    Times 1, 2, 3, 4 and targets 2 and 4: (.5 + 0) / 2.
    """
    after = len(times) - np.searchsorted(np.sort(times), targets, side="right")
    return float(after.mean() / max(1, len(times)))


def _held_out(table: EventTable, frame: pd.DataFrame, later: EventTable) -> Iterator[Finding]:
    theirs = later.pairs()
    if theirs.empty:
        yield Finding("error", "no event to judge by is on an item of the catalogue",
                      later.path.name, "it belongs to another catalogue")  # fmt: skip
        return
    known = pd.MultiIndex.from_frame(frame[["user", "item"]])
    asked = pd.MultiIndex.from_frame(theirs[["user", "item"]])
    both = asked.isin(known)
    if both.any():
        rows = later.user.index.isin(theirs.index[both])
        yield Finding(
            "error" if both.mean() > WORTH_TELLING else "warning",
            f"{int(both.sum()):,} of {len(theirs):,} events to judge by are pairs of the log",
            later.where(rows),
            f"target in history: take them out of {table.path.name}; `triptych evaluate` leaves "
            "them out of the targets",
        )
    if table.has_clock and later.has_clock:
        before = theirs["time"].to_numpy() <= int(frame["time"].max())
        if before.any():
            yield Finding(
                "warning",
                f"{int(before.sum()):,} of {len(theirs):,} events to judge by are not later than "
                "the log",
                later.where(later.user.index.isin(theirs.index[before])),
                "the model has seen what others did after them: cut both at one moment",
            )
