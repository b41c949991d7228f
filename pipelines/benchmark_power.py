"""What size a topic must have for its surges to be found, `benchmark news --only power`; and what
must raise no alarm, `--only quiet`.

Streams are drawn, not read, so that only their size differs: the working days of news (share of a
week's stories by weekday as counted on two years of business headlines), days that vary more than
by chance, and a share of bad news that drifts from day to day. Ten topics of one size, two years;
budgets, thresholds and surges as with real headlines.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np

from apps.news_monitor.trends import Counts
from pipelines.benchmark_news import RULES, SurgeRow, benchmark_surges
from pipelines.surge_scenarios import QUIET, SURGES, Stream

Say = Callable[[str], None]

STORIES_A_DAY = (2, 5, 10, 20)
TOPICS, WEEKS = 10, 104
WEEKDAYS = (1.12, 1.31, 1.36, 1.41, 1.19, 0.23, 0.37)  # Monday first; their mean is 1
VARIANCE = 2.0  # of a day's stories, in means: gamma-Poisson
NEGATIVE, SPREAD = 0.2, 0.02  # share of bad news; its intra-class correlation within a day
POSITIVE = 0.25  # of the rest
COMPARED = ("share + half count (triptych)", "Poisson count")
INJECTIONS = 120
QUIET_SIZE, QUIET_TRIALS = 10, 240
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def surge_power(seed: int, say: Say) -> Iterator[tuple[int, Sequence[SurgeRow]]]:
    """Stories a day of each topic, and what the rules find then."""
    rules = {name: RULES[name] for name in COMPARED}
    for size in STORIES_A_DAY:
        say(f"ten topics of {size} stories a day")
        stream = drawn_stream(size, seed)
        yield (
            size,
            benchmark_surges(
                stream, seed=seed, injections=INJECTIONS, scenarios=SURGES, rules=rules
            ),
        )


def quiet_controls(seed: int, say: Say) -> Sequence[SurgeRow]:
    """Every rule on what is no surge of bad news."""
    say(f"ten topics of {QUIET_SIZE} stories a day: what must stay quiet")
    stream = drawn_stream(QUIET_SIZE, seed)
    return benchmark_surges(stream, seed=seed, injections=QUIET_TRIALS, scenarios=QUIET)


def drawn_stream(stories_a_day: float, seed: int) -> Stream:
    """Counts of WEEKS weeks in which each topic has so many stories a day on average."""
    rng = np.random.default_rng(seed)
    days = WEEKS * 7
    mean = stories_a_day * np.resize(WEEKDAYS, days)[:, None]  # (days, 1)
    level = rng.gamma(mean / (VARIANCE - 1), VARIANCE - 1, (days, TOPICS))
    precision = 1 / SPREAD - 1
    share = rng.beta(NEGATIVE * precision, (1 - NEGATIVE) * precision, (days, TOPICS))
    hourly = np.repeat(level / 24, 24, axis=0)  # (hours, topics)
    stories = rng.poisson(hourly)
    negative = rng.binomial(stories, np.repeat(share, 24, axis=0))
    positive = rng.binomial(stories - negative, POSITIVE)
    names = tuple(f"Topic {number}" for number in range(TOPICS))
    seen = np.ones(stories.shape, dtype=bool)
    return Stream(Counts(names, MONDAY, stories, negative, seen), positive)
