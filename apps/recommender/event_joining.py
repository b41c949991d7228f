"""Events of a user on an item as one pair: what it weighs, and what hiding the item does to it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Hidden:
    """Pairs of a user and an item that the user wants to see no more. user, item: (m,) int32.
    time: (m,) int64, of the last event on it. weight: (m,) float32 at most 0, what later events
    must outweigh for the item to be wanted again.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.int64]
    weight: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.item)


NOTHING_HIDDEN = Hidden(
    np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float32)
)


@dataclass(frozen=True, eq=False)
class Joined:
    """pairs: user, item, weight, time, one row for each pair that is wanted. undone: how many are
    not; hidden: those of them that were hidden."""

    pairs: pd.DataFrame
    hidden: Hidden
    undone: int


def join_events(events: pd.DataFrame, most: float, hidden: Hidden = NOTHING_HIDDEN) -> Joined:
    """One row for each pair of the events (user, item, time, weight, taking: see Events). most:
    weight of a pair.

    An event that takes away more than a pair can have hides the item: it voids what was before it.
    What the user takes after that is wanted again, from then on; all else must outweigh it.
    hidden: pairs that were so before.
    """
    before = pd.DataFrame({"user": hidden.user, "item": hidden.item, "time": hidden.time,
                           "weight": hidden.weight.astype(np.float64),
                           "taking": False})  # fmt: skip
    count = len(events)
    events = pd.concat([events, before], ignore_index=True) if len(before) else events
    hides = (events["weight"] < -most).to_numpy(bool) | (np.arange(len(events)) >= count)
    events = events.assign(
        last=events["time"].where(events["weight"] > 0), hid=events["time"].where(hides)
    )
    if hides.any():
        events = _after_hiding(events)
    pairs = (
        events.groupby(["user", "item"], sort=False)
        .agg(
            weight=("weight", "sum"), time=("last", "max"), end=("time", "max"), hid=("hid", "max")
        )
        .reset_index()
    )
    wanted = pairs["weight"] > 0
    gone = pairs[~wanted & pairs["hid"].notna()]
    undone = int((~wanted).sum())
    pairs = pairs.loc[wanted, ["user", "item", "weight", "time"]].reset_index(drop=True)
    pairs["weight"] = pairs["weight"].clip(upper=most)
    return Joined(
        pairs.astype({"time": "int64"}),
        Hidden(
            gone["user"].to_numpy(np.int32),
            gone["item"].to_numpy(np.int32),
            gone["end"].to_numpy(np.int64),
            gone["weight"].to_numpy(np.float32),
        ),
        undone,
    )


def _after_hiding(events: pd.DataFrame) -> pd.DataFrame:
    """Without what came before an item was hidden, the last time where it was more than once, or,
    where the user took it later, before that."""
    pair, time = [events["user"], events["item"]], events["time"]
    hidden = events["hid"].groupby(pair).transform("max")
    back = time.where(events["taking"] & (time > hidden)).groupby(pair).transform("min")
    return events[~(time < back.fillna(hidden)) & ~((time == hidden) & events["hid"].isna())]
