"""A trial of two recommenders with users: who sees which, or both in one list.

A user's arm follows from the trial's name and the user's id alone: no table is kept, every process
and every night gives the same one, and two trials divide the users independently.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from shared.errors import DataError

COLUMNS = ("user_id", "item_id", "rank", "score", "reason", "arm")
LISTED_AT = "listed_at"  # in the table of a trial: ISO 8601, when the lists were made
_SPAN = float(2**53)


@dataclass(frozen=True)
class Arm:
    """model: NAME@VERSION. share: of the users, 0..1."""

    model: str
    share: float


def draw(trial: str, key: str) -> float:
    """0 <= u < 1, even over keys; of 53 bits, so that it is exact as a float."""
    said = hashlib.blake2b(f"{trial}\x1f{key}".encode("utf-8", "surrogatepass"), digest_size=8)
    return (int.from_bytes(said.digest(), "big") >> 11) / _SPAN


def arms_of(trial: str, users: Sequence[str], arms: Sequence[Arm]) -> list[str]:
    """The model of each user's arm.

    Raises: DataError: shares that are not above 0 or do not sum to 1, or one model twice.
    """
    shares = np.array([arm.share for arm in arms])
    if len(arms) < 2 or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-9:
        told = ", ".join(f"{arm.model} {arm.share:g}" for arm in arms)
        raise DataError(f"arms {told}: expected two or more with shares above 0 that sum to 1")
    if len({arm.model for arm in arms}) < len(arms):
        raise DataError(f"arms {', '.join(arm.model for arm in arms)}: expected different versions")
    ends = np.cumsum(shares)
    places = np.searchsorted(ends, [draw(trial, user) for user in users], side="right")
    return [arms[min(int(place), len(arms) - 1)].model for place in places]


def team_draft(
    first: Sequence[str], second: Sequence[str], k: int, rng: np.random.Generator
) -> list[tuple[str, int]]:
    """k items, each with the list that put it there, 0 or 1: two captains pick in turn, and a coin
    says who begins each round. A list that has nothing left passes.

    Source: Radlinski, Kurup and Joachims, How Does Clickthrough Data Reflect Retrieval Quality?,
    CIKM 2008, section 5.2.
    """
    left = (list(dict.fromkeys(first)), list(dict.fromkeys(second)))
    taken: set[str] = set()
    found: list[tuple[str, int]] = []
    while len(found) < k:
        begins = int(rng.integers(2))
        picked = False
        for team in (begins, 1 - begins):
            item = next((name for name in left[team] if name not in taken), None)
            if item is None or len(found) == k:
                continue
            taken.add(item)
            found.append((item, team))
            picked = True
        if not picked:
            break
    return found


def interleaved(
    trial: str, models: tuple[str, str], lists: tuple[pd.DataFrame, pd.DataFrame], k: int
) -> pd.DataFrame:
    """COLUMNS: for each user one list of both, by team draft; `arm` names whose pick a row is.

    lists: of the two models, for the same users. The coins follow from trial and user.
    """
    sides = [dict(iter(frame.groupby("user_id", sort=False))) for frame in lists]
    rows: list[tuple[object, ...]] = []
    for user in dict.fromkeys([*sides[0], *sides[1]]):
        own = [side.get(user) for side in sides]
        names = [[] if part is None else part["item_id"].tolist() for part in own]
        rng = np.random.default_rng(int(draw(trial, str(user)) * _SPAN))
        facts = [
            {} if part is None else part.set_index("item_id")[["score", "reason"]].to_dict("index")
            for part in own
        ]
        for rank, (item, team) in enumerate(team_draft(names[0], names[1], k, rng), start=1):
            fact = facts[team][item]
            rows.append((user, item, rank, fact["score"], fact["reason"], models[team]))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"rank": "int32", "score": "float32"})
