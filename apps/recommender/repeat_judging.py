"""What lists are worth with what is offered again, for users who chose nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.recommender.fitting import Given, HeldOut, held_out_lists
from apps.recommender.quality import DEPTH, Judged, against, judge, recalled
from apps.recommender.repeat_fitting import all_targets
from apps.recommender.repeats import most_taken
from apps.recommender.retrieval import Rows
from apps.recommender.splits import Pairs
from shared.evaluation.report import Slice

WITH = "with what is offered again"
WITHOUT = "without it"
HABIT = "what each took most often, alone"


@dataclass(frozen=True, eq=False)
class JudgedRepeats:
    """judged: WITH, WITHOUT and HABIT over all that the users took, new or again. found: of what
    was taken again. note: for a person."""

    judged: dict[str, Judged]
    found: Slice
    note: str


def judged_repeats(held: HeldOut, texts: Given, seed: int) -> JudgedRepeats | None:
    """None where nothing is offered again, or none of these users took anything."""
    repeats, parts = held.again.repeats, held.parts
    split = parts.split.of_users(~parts.choosing)
    targets = all_targets(split)
    if repeats is None or not len(targets):
        return None
    users, known = targets.users, split.known
    plain, joined = (held_out_lists(held, texts, users, None, again=a) for a in (False, True))
    judged = {
        WITH: judge(joined, targets),
        WITHOUT: judge(plain, targets),
        HABIT: judge(most_taken(repeats.habits, users, DEPTH), targets),
    }
    has_past = np.diff(known.starts) > 0
    again = split.again.of_users(has_past)
    new = Pairs(split.user, split.item).of_users(has_past)

    def listed(lists: Rows, pairs: Pairs) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (
            lists[np.searchsorted(users, pairs.user)] == pairs.item[:, None]
        ).any(1)
        return found

    found = Slice("taken again", len(again), recalled(listed(joined, again), seed))
    rivals = "; ".join(
        f"{name} {judged[name].ndcg.mean():.4f}, "
        f"{against(judged[WITH], name, judged[name], seed).difference}"
        for name in (WITHOUT, HABIT)
    )
    note = (
        f"of {len(users):,} users who did not choose, over all that they took, new or again: "
        f"NDCG@{DEPTH} {judged[WITH].ndcg.mean():.4f} {WITH}; {rivals}; of what was new "
        f"{listed(plain, new).mean():.3f} is in the lists without it, "
        f"{listed(joined, new).mean():.3f} in those with it"
    )
    return JudgedRepeats(judged, found, note)
