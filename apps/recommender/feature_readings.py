"""What the features of the final ranking are called for a person, and in which units."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.recommender.features import COLD
from apps.recommender.ranking import SUMMED

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """group: what the feature is about, shared by those that say the same in other words. says: its
    name, with the unit; deviations are those from the mean of the user's candidates. natural: from
    the feature's values to that unit. logarithmic: the unit is best drawn so.
    """

    group: str
    says: str
    natural: Callable[[Numbers], Numbers] = np.asarray
    logarithmic: bool = False

    @property
    def line(self) -> str:
        """Both names, where the second does not begin with the first."""
        return self.says if self.says.startswith(self.group) else f"{self.group}: {self.says}"


GROUPS = {
    "sequence": "what the user did, in order",
    "together": "chosen together",
    "words": "alike in words",
    "meaning": "alike in meaning",
    "popular": "popularity",
}
KIN = "relatives of the item"
PRICE = "price"
AGE = "age and recency"
SCORE, AMONG = "score", "in deviations"
_OTHERS = {
    SUMMED: Reading("sum of the channels", "weighted sum of the channels' scores"),
    "sources": Reading("sum of the channels", "channels that proposed it"),
    "last_meaning": Reading(GROUPS["meaning"], "cosine to the text of the user's newest item"),
    "history": Reading("length of the history", "items in the user's history", np.expm1, True),
    COLD: Reading("new", "nobody has taken it yet (0 no, 1 yes)"),
    "idle_days": Reading(AGE, "days since somebody took it", np.expm1, True),
    "age_days": Reading(AGE, "days since it came or was first taken", np.expm1, True),
    "z_recent": Reading(GROUPS["popular"], f"takers in the longest window, {AMONG}"),
    "z_latest": Reading(GROUPS["popular"], f"takers in the shortest window, {AMONG}"),
    "kin_sequence": Reading(KIN, f"how they fit what the user did, {SCORE}"),
    "z_kin_sequence": Reading(KIN, f"how they fit what the user did, {AMONG}"),
    "kin_together": Reading(KIN, f"how often they were chosen together, {SCORE}"),
    "z_kin_together": Reading(KIN, f"how often they were chosen together, {AMONG}"),
    "kin_popular": Reading(KIN, "their takers", np.expm1, True),
    "price": Reading(PRICE, "price", np.exp, True),
    "price_gap": Reading(PRICE, "times the user's usual price", np.exp, True),
    "price_distance": Reading(PRICE, "times off the user's usual price", np.exp, True),
    "category_affinity": Reading("categories", "share of the history in its categories"),
    "brand_affinity": Reading("brand", "share of the history of its brand"),
    "opening_affinity": Reading("title", "share of the history with a title that begins alike"),
}  # fmt: skip


def reading(name: str) -> Reading:
    """Of a column that Ranking.reads names; one that is not known is called by its own name."""
    name, _, new = name.partition(", ")
    if new:
        known = reading(name)
        return Reading(known.group, f"{known.says}, of a new item", known.natural)
    if name in _OTHERS:
        return _OTHERS[name]
    taken = re.fullmatch(r"taken_(\d+)d", name)
    if taken:
        return Reading(GROUPS["popular"], f"takers in {taken[1]} days", np.expm1, True)
    form, _, channel = name.rpartition("_")
    if channel not in GROUPS:
        return Reading(name, name)
    if form == "rank":
        # features.ranks tells log(1 + place) and counts places from 0.
        return Reading(GROUPS[channel], "place among the user's candidates", np.exp, True)
    return Reading(GROUPS[channel], f"{SCORE}, {AMONG}" if form == "z" else SCORE)
