"""What the shop's rules cost: over a sample of users, and for one user item by item."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
import pandas as pd

from apps.recommender.recommender import Recommender
from apps.recommender.ruling import LEFT_OUT, LIMITED, fate_notes
from apps.recommender.settings import RuleSettings
from shared.evaluation.intervals import bootstrap, mean_of

SAMPLED_USERS = 500
SEED = 13


@dataclass(frozen=True)
class RuleCost:
    """kept: mean over `users` of the share that lists under the rules keep of the NDCG that the
    ranking expects of its own lists, 0..1 (see ruling.kept_share), with the 95 % interval over
    users; worst: of the user who loses most. gone: why items of the ranking's own lists are not
    listed -> share of their places. notes: rules that fit nothing.
    """

    users: int
    kept: float
    low: float
    high: float
    worst: float
    gone: dict[str, float]
    notes: tuple[str, ...]

    @property
    def line(self) -> str:
        """For a person."""
        gone = ", ".join(f"{share:.1%} {why}" for why, share in self.gone.items())
        return (
            f"rules: {self.kept:.1%} ({self.low:.1%}-{self.high:.1%}) of the expected NDCG of the "
            f"lists without them is kept, {self.worst:.1%} for the user who loses most "
            f"({self.users:,} users); of the places, not listed: {gone or 'none'}"
        )

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class WhatIf:
    """One user's lists. listed: under the rules, the columns of `recommend`. unruled: rank,
    item_id, what became of it. kept: see RuleCost."""

    listed: pd.DataFrame
    unruled: pd.DataFrame
    kept: float


def rule_cost(
    recommender: Recommender,
    users: Sequence[str],
    k: int,
    *,
    include_seen: bool = False,
    day: date | None = None,
) -> RuleCost | None:
    """On at most SAMPLED_USERS of the users, evenly from all. None where no rule is on."""
    rules = recommender.day_rules(day)
    if not rules.change_lists or not users:
        return None
    places = np.unique(np.linspace(0, len(users) - 1, SAMPLED_USERS).astype(int))
    sample = [users[place] for place in places]
    shown = recommender.shown(sample, k, include_seen, rules)
    kept = shown.ruled.kept
    found = bootstrap(mean_of(kept), len(kept), seed=SEED)
    counted: Counter[str] = Counter()
    fate = shown.ruled.fate
    first = shown.ranked[:, : fate.shape[1]]
    for kind, items in ((LEFT_OUT, None), (LIMITED, "over a limit")):
        rows = first[(fate == kind) & (first >= 0)]
        names = [items or rules.refusals[rules.refused[row] - 1] for row in rows]
        counted.update(names)
    other = int(((fate < 0) & (first >= 0)).sum()) - counted.total()
    counted.update({"overtaken by others": other} if other else {})
    total = max(1, int((first >= 0).sum()))
    gone = {why: count / total for why, count in counted.most_common()}
    return RuleCost(
        len(sample), found.value, found.low, found.high, float(kept.min()), gone, rules.notes
    )


def what_if(
    recommender: Recommender,
    user: str,
    k: int,
    *,
    include_seen: bool = False,
    rules: RuleSettings | None = None,
) -> WhatIf:
    """rules: others than the shop's. Raises: DataError: the table of stock cannot be read."""
    wanted = recommender.day_rules(rules=rules)
    shown = recommender.shown([user], k, include_seen, wanted)
    ids = recommender.bundle.catalog.ids
    fates = fate_notes(shown.ruled, shown.ranked, wanted, 0)
    unruled = pd.DataFrame(
        {
            "rank": range(1, len(fates) + 1),
            "item_id": pd.Series([ids[row] for row in shown.ranked[0, : len(fates)]], dtype="str"),
            "under the rules": pd.Series(fates, dtype="str"),
        }
    )
    return WhatIf(recommender.frame(shown), unruled, float(shown.ruled.kept[0]))
