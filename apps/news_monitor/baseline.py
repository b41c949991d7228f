"""What is usual for each topic: its negative share, its volume, its week, from its own past.

Estimated from whole UTC days before the guard, so that a surge never feeds the baseline it is
measured against, and with past incidents down-weighted (Noufaily et al. 2013, Statistics in
Medicine 32:1206, section 3.3), so that last month's crisis does not hide this month's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESIDUAL_CUT = 2.58
MIN_DISPERSION = 1.05
PROFILE_STRENGTH = 30.0  # stories of the pooled week that each topic's own week is shrunk with


@dataclass(frozen=True)
class Baseline:
    """The usual state of I topics on one day.

    share (I,): expected negative share. rho (I,): correlation of the predictive beta-binomial,
    which holds the days' own dispersion and the uncertainty of `share`. negative_rate and
    story_rate (I,): a usual day's counts. negative_dispersion, story_dispersion (I,): variance over
    mean of daily counts, >= 1.05. negative_history, story_history (I,): weighted counts the rates
    rest on. week (I, 7): Monday-first factors around 1. hours (24,): share of a day's stories in
    each UTC hour, sums to 1. days: days of history used, without those of which nothing counts.
    """

    share: Floats
    rho: Floats
    negative_rate: Floats
    story_rate: Floats
    negative_dispersion: Floats
    story_dispersion: Floats
    negative_history: Floats
    story_history: Floats
    week: Floats
    hours: Floats
    days: int


@dataclass(frozen=True)
class History:
    """Whole days before the guard: stories, negative, usable (J, I), weekday (J,) Monday = 0,
    hourly (24,) stories of all topics by hour. usable: the part of a day that counts, 0 to 1."""

    stories: Floats
    negative: Floats
    usable: Floats
    weekday: NDArray[np.int64]
    hourly: Floats


def down_weight(residual: Floats) -> Floats:
    """1 up to 2.58 standard deviations above expectation, (residual / 2.58)^-2 beyond it."""
    return np.where(
        residual <= RESIDUAL_CUT, 1.0, (np.maximum(residual, RESIDUAL_CUT) / RESIDUAL_CUT) ** -2.0
    )


def week_profile(stories: Floats, usable: Floats, weekday: NDArray[np.int64]) -> Floats:
    """Volume factors (I, 7) by weekday: each topic's own, shrunk to the profile of all topics."""
    per_day = np.zeros((7, stories.shape[1]))
    exposure = np.zeros((7, stories.shape[1]))
    np.add.at(per_day, weekday, stories)
    np.add.at(exposure, weekday, usable)
    level = stories.sum(axis=0) / np.maximum(usable.sum(axis=0), 1e-9)  # (I,)
    expected = exposure * level  # (7, I)
    pooled_expected = expected.sum(axis=1, keepdims=True)
    # A weekday not yet seen, or a stream without stories, is taken as an average day. A little of
    # the average day in every factor keeps a week of history from claiming that Sundays are empty.
    pooled = (per_day.sum(axis=1, keepdims=True) + 1.0) / (pooled_expected + 1.0)
    factors = (per_day + PROFILE_STRENGTH * pooled) / (expected + PROFILE_STRENGTH)
    factors = np.maximum(factors, 0.02)
    # Normalised so that a whole week of factors averages 1.
    result: Floats = (factors / factors.mean(axis=0, keepdims=True)).T
    return result


def prior_strength(negative: Floats, stories: Floats) -> float:
    """Empirical Bayes: how many stories of the pooled share each topic's share starts with.

    Moment estimate of the between-topic variance t2 from totals (I,): strength is
    p (1 - p) / t2 - 1, in [5, 200]; one topic alone has nothing to borrow, so 5.
    """
    has = stories > 0
    if int(has.sum()) < 2:
        return 5.0
    k, n = negative[has], stories[has]
    p = float(k.sum() / n.sum())
    spread = p * (1.0 - p)
    if spread <= 0.0:
        return 200.0
    excess = float((n * (k / n - p) ** 2).sum()) - (n.size - 1) * spread
    between = excess / float(n.sum() - (n**2).sum() / n.sum())
    return float(np.clip(spread / max(between, 1e-9) - 1.0, 5.0, 200.0))


def _share(history: History, rho: float) -> tuple[Floats, Floats, Floats]:
    """Expected share and predictive rho (I,), day weights (J, I): two rounds of re-weighting."""
    k, n = history.negative, history.stories
    weight = (history.usable > 0).astype(np.float64)
    for step in range(3):
        negative, stories = (weight * k).sum(axis=0), (weight * n).sum(axis=0)
        strength = prior_strength(negative, stories)
        # Laplace's half a story keeps a stream without bad news from expecting exactly none.
        pooled = (negative.sum() + 0.5) / (stories.sum() + 1.0)
        share = (negative + strength * pooled) / (stories + strength)
        if step == 2:
            break
        deviation = np.sqrt(np.maximum(n * share * (1 - share) * (1 + (n - 1) * rho), 1e-12))
        weight = (history.usable > 0) * down_weight((k - n * share) / deviation)
    mean_size = (weight * n * n).sum(axis=0) / np.maximum(stories, 1e-9)
    effective = stories / (1.0 + np.maximum(mean_size - 1.0, 0.0) * rho) + strength
    uncertainty = 1.0 / (effective + 1.0)
    return share, uncertainty + rho * (1.0 - uncertainty), weight


def _rate(counts: Floats, exposure: Floats) -> tuple[Floats, Floats, Floats]:
    """Usual count per average day, its dispersion, and the weighted count behind it: (I,) each."""
    weight = (exposure > 0).astype(np.float64)
    for step in range(3):
        # Half a story: a topic without any negative yet still expects a few.
        rate = ((weight * counts).sum(axis=0) + 0.5) / np.maximum(
            (weight * exposure).sum(axis=0), 1e-9
        )
        mean = np.maximum(rate * exposure, 1e-9)
        squares = np.where(exposure > 0, (counts - mean) ** 2 / mean, 0.0)
        freedom = np.maximum(weight.sum(axis=0) - 1.0, 1.0)
        dispersion = np.maximum((weight * squares).sum(axis=0) / freedom, MIN_DISPERSION)
        if step == 2:
            break
        residual = (counts - mean) / np.sqrt(dispersion * mean)
        weight = np.where(exposure > 0, down_weight(residual), 0.0)
    return rate, dispersion, (weight * mean).sum(axis=0)


def estimate(history: History, rho: float) -> Baseline:
    """The baseline of one day from the days before it. An empty history gives rates near 0 and a
    share of one half; the caller gates on `days`."""
    week = week_profile(history.stories, history.usable, history.weekday)
    exposure = history.usable * week[:, history.weekday].T  # (J, I)
    share, predictive, _ = _share(history, rho)
    negative_rate, negative_dispersion, negative_history = _rate(history.negative, exposure)
    story_rate, story_dispersion, story_history = _rate(history.stories, exposure)
    hours = (history.hourly + 1.0) / (history.hourly.sum() + 24.0)
    return Baseline(
        share=share,
        rho=predictive,
        negative_rate=negative_rate,
        story_rate=story_rate,
        negative_dispersion=negative_dispersion,
        story_dispersion=story_dispersion,
        negative_history=negative_history,
        story_history=story_history,
        week=week,
        hours=hours,
        days=int((history.usable > 0).any(axis=1).sum()),
    )
