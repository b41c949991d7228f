"""What a trial says: the effect with its interval, and which effect it could have seen at all."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from shared.errors import DataError

LEVEL, POWER = 0.95, 0.8
# Below this p the arms do not have the shares they should: something else than the hash assigned.
MISMATCH = 0.001


@dataclass(frozen=True)
class ArmFigures:
    """One arm: users; of these `takers` took something they were shown; value: the sum of the
    weights of what they took."""

    model: str
    users: int
    takers: int
    value: float

    @property
    def rate(self) -> float:
        return self.takers / self.users if self.users else 0.0


@dataclass(frozen=True)
class Effect:
    """measure of the second arm minus the first. low, high: 95 % interval. p: two-sided. least:
    the smallest true effect that a trial of this size and spread finds in 80 of 100 cases.
    """

    measure: str
    first: float
    second: float
    value: float
    low: float
    high: float
    p: float
    least: float

    @property
    def verdict(self) -> str:
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "not told apart"

    @property
    def line(self) -> str:
        relative = f" ({self.value / self.first:+.1%})" if self.first else ""
        return (
            f"{self.measure}: {self.first:.4f} -> {self.second:.4f}, {self.value:+.4f}{relative}, "
            f"95 % {self.low:+.4f} to {self.high:+.4f}, p = {self.p:.3g}: {self.verdict}; a true "
            f"effect of {self.least:.4f} would be found in 80 of 100 such trials"
        )


@dataclass(frozen=True)
class TrialResult:
    """arms: the first is what the others are measured against. effects: of each further arm.
    mismatch: p of these numbers of users under the shares wanted, None for interleaved lists."""

    kind: str
    arms: tuple[ArmFigures, ...]
    effects: tuple[Effect, ...]
    events: int
    mismatch: float | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def lines(self) -> tuple[str, ...]:
        """For a person."""
        told = [f"{self.kind}: {self.events:,} events on what was shown"]
        told += [
            f"  {arm.model}: {arm.users:,} users, {arm.takers:,} took something ({arm.rate:.2%}), "
            f"{arm.value:g} in weights"
            for arm in self.arms
        ]
        told += [effect.line for effect in self.effects]
        if self.mismatch is not None and self.mismatch < MISMATCH:
            told.append(
                f"The arms do not have the shares that were wanted (p = {self.mismatch:.2g}): "
                "users were lost or moved in one of them, so the effect is not to be believed"
            )
        return (*told, *self.notes)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def credited(
    lists: pd.DataFrame, events: pd.DataFrame, begins: pd.Timestamp, ends: pd.Timestamp
) -> pd.DataFrame:
    """The events on items that the user was shown, with the arm that showed them.

    lists: user_id, item_id, arm. events: user_id, item_id, timestamp, weight; those from `begins`
    until before `ends` count.
    """
    during = events[(events["timestamp"] >= begins) & (events["timestamp"] < ends)]
    shown = lists[["user_id", "item_id", "arm"]].drop_duplicates(["user_id", "item_id"])
    return during.merge(shown, on=["user_id", "item_id"], how="inner")


def analyse_split(
    lists: pd.DataFrame, hits: pd.DataFrame, arms: Sequence[str], shares: Sequence[float]
) -> TrialResult:
    """Users divided among arms; the first arm is what the others are measured against.

    hits: of `credited`. Two measures: the share of users who took something they were shown, and
    the weight taken per user. Raises: DataError: a user in two arms, or an arm without two users.
    """
    owner = lists.drop_duplicates(["user_id", "arm"])
    if owner["user_id"].duplicated().any():
        name = owner.loc[owner["user_id"].duplicated(), "user_id"].iloc[0]
        raise DataError(f"user {name!r} is in two arms: these lists are interleaved")
    value = hits.groupby("user_id")["weight"].sum()
    worth = owner["user_id"].map(value).fillna(0.0).to_numpy(np.float64)
    took = owner["user_id"].isin(value.index[value > 0]).to_numpy(bool)
    rows = [(owner["arm"] == arm).to_numpy(bool) for arm in arms]
    for arm, mine in zip(arms, rows, strict=True):
        if mine.sum() < 2:
            raise DataError(f"arm {arm}: {int(mine.sum())} users; two are the least to compare")
    figures = tuple(
        ArmFigures(arm, int(mine.sum()), int(took[mine].sum()), float(worth[mine].sum()))
        for arm, mine in zip(arms, rows, strict=True)
    )
    effects = []
    for arm, mine, own in zip(arms[1:], rows[1:], figures[1:], strict=True):
        base = figures[0]
        effects.append(rate_effect(f"{arm}, users who took something", base.takers, base.users,
                                   own.takers, own.users))  # fmt: skip
        effects.append(mean_effect(f"{arm}, weight per user", worth[rows[0]], worth[mine]))
    counts = [figure.users for figure in figures]
    mismatch = float(stats.chisquare(counts, np.array(shares) * sum(counts)).pvalue)
    return TrialResult("split", figures, tuple(effects), len(hits), mismatch)


def analyse_interleaved(
    lists: pd.DataFrame, hits: pd.DataFrame, arms: Sequence[str]
) -> TrialResult:
    """One list of two arms for each user: which arm's picks users took more of.

    Each user with any event is one vote, for the arm with more weight; equal ones are ties. The
    effect is wins + ties / 2 as a share of the votes, less one half.
    Source: Chapelle, Joachims, Radlinski and Yue, Large-Scale Validation and Analysis of
    Interleaved Search Evaluation, ACM TOIS 30(1), 2012, section 3.
    """
    if len(arms) != 2:
        raise DataError(f"{len(arms)} arms; interleaving compares two")
    sums = hits.pivot_table(
        index="user_id", columns="arm", values="weight", aggfunc="sum", fill_value=0.0
    ).reindex(columns=list(arms), fill_value=0.0)
    gain = (sums[arms[1]] - sums[arms[0]]).to_numpy(np.float64)
    users = int(lists["user_id"].nunique())
    figures = tuple(
        ArmFigures(arm, users, int((sums[arm] > 0).sum()), float(sums[arm].sum())) for arm in arms
    )
    wins, losses = int((gain > 0).sum()), int((gain < 0).sum())
    return TrialResult(
        "interleaved",
        figures,
        (vote_effect(f"{arms[1]}, share of users who prefer it", wins, losses, len(gain)),),
        len(hits),
        notes=(f"{wins} users prefer {arms[1]}, {losses} prefer {arms[0]}, "
               f"{len(gain) - wins - losses} neither",),
    )  # fmt: skip


def rate_effect(measure: str, x0: int, n0: int, x1: int, n1: int) -> Effect:
    """x of n users took something: Newcombe's interval for a difference of proportions (Statistics
    in Medicine 17, 1998, method 10), a two-sided test with the pooled rate, and its power by the
    normal approximation (Fleiss, Levin and Paik 2003, section 4.2).
    """
    p0, p1 = x0 / n0, x1 / n1
    low0, high0 = wilson(x0, n0)
    low1, high1 = wilson(x1, n1)
    difference = p1 - p0
    low = difference - float(np.hypot(p1 - low1, high0 - p0))
    high = difference + float(np.hypot(high1 - p1, p0 - low0))
    pooled = (x0 + x1) / (n0 + n1)
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / n0 + 1 / n1)))
    p = float(2 * stats.norm.sf(abs(difference) / error)) if error else 1.0
    return Effect(measure, p0, p1, difference, low, high, p, _least(error))


def mean_effect(measure: str, first: NDArray[np.float64], second: NDArray[np.float64]) -> Effect:
    """Welch's t: interval and two-sided p; (n0,) and (n1,) values of users."""
    difference = float(second.mean() - first.mean())
    parts = [float(values.var(ddof=1)) / len(values) for values in (first, second)]
    error = float(np.sqrt(sum(parts)))
    if not error:
        return Effect(measure, float(first.mean()), float(second.mean()), difference,
                      difference, difference, 1.0 if not difference else 0.0, 0.0)  # fmt: skip
    sizes = (len(first), len(second))
    freedom = error**4 / sum(v**2 / (n - 1) for v, n in zip(parts, sizes, strict=True))
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return Effect(measure, float(first.mean()), float(second.mean()), difference,
                  difference - reach, difference + reach, p, _least(error))  # fmt: skip


def vote_effect(measure: str, wins: int, losses: int, votes: int) -> Effect:
    """Wins plus half of the ties among the votes, against one half. p: exact sign test without the
    ties. Interval: normal, with the spread of the votes (1, 1/2, 0)."""
    if not votes:
        return Effect(measure, 0.5, 0.5, 0.0, -0.5, 0.5, 1.0, 0.5)
    ties = votes - wins - losses
    share = (wins + ties / 2) / votes
    # With one vote of each kind added, so that a few votes of one mind are no certainty.
    n, more = votes + 2, wins + 1
    centre = (more + ties / 2) / n
    spread = (more + ties / 4) / n - centre**2
    reach = float(stats.norm.ppf((1 + LEVEL) / 2)) * float(np.sqrt(spread / n))
    p = float(stats.binomtest(wins, wins + losses, 0.5).pvalue) if wins + losses else 1.0
    # Under no effect the votes that are no ties have a spread of a quarter.
    error = float(np.sqrt((wins + losses) / votes / 4 / votes))
    return Effect(
        measure, 0.5, share, share - 0.5,
        max(-0.5, centre - reach - 0.5), min(0.5, centre + reach - 0.5), p, _least(error),
    )  # fmt: skip


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The score interval of a proportion. 0 of 10: 0 to .278."""
    found = stats.binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def users_needed(rate: float, effect: float) -> int:
    """Users in each of two equal arms that find a change of a rate by `effect` (both 0..1, rate +
    effect too) in 80 of 100 trials: Fleiss, Levin and Paik 2003, formula 4.14 without the
    correction for continuity. 10 % to 12 %: 3,841.
    """
    p0, p1 = rate, rate + effect
    mean = (p0 + p1) / 2
    a, b = float(stats.norm.ppf((1 + LEVEL) / 2)), float(stats.norm.ppf(POWER))
    root = a * np.sqrt(2 * mean * (1 - mean)) + b * np.sqrt(p0 * (1 - p0) + p1 * (1 - p1))
    return int(np.ceil((root / effect) ** 2))


def _least(error: float) -> float:
    """Smallest effect found with POWER at LEVEL, two-sided, for an estimate of that error."""
    return float((stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(POWER)) * error)
