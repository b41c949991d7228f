"""`triptych benchmark lists`: how many users a second get a finished list, and how long one waits;
of a large shop also what its tables and indexes cost.

The shop is invented: items of a topic are worded and meant alike, as are, less so, the topics of a
department, and a user stays mostly with one topic. Words are as common as in a language, few in
most items and most in few (Zipf), and more of them the more items there are (Heaps). The sequence
model is not trained (that changes no time of a list); the final ranking is.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.recommender.bundle import Bundle, EncoderNote
from apps.recommender.catalog import Catalog
from apps.recommender.fitting import Parts, fit_held_out, given
from apps.recommender.interactions import Interactions
from apps.recommender.recommender import Recommender
from apps.recommender.settings import RecommenderSettings, RuleSettings
from apps.recommender.splits import leave_last_out, part_of_users
from apps.recommender.vectors import Whitening, unit_rows
from pipelines.benchmark_index import DIRECTIONS, spread

Say = Callable[[str], None]

EVENTS_EACH = 9
TOPIC_ITEMS, DEPARTMENT_ITEMS = 40, 2_000
# Of so many items these are the words; of more there are more.
WORDS, WORDS_OF = 6_000, 12_000
TOPIC_WORDS = 12
ROWS_AT_ONCE = 50_000
# Users whose last items teach the final ranking.
TEACHING = 2_000
ALONE = 200
LIST = 10


@dataclass(frozen=True)
class ShopSize:
    """A user has some eight events."""

    items: int
    users: int


USUAL, LARGE = ShopSize(12_000, 22_000), ShopSize(1_000_000, 1_250_000)


@dataclass(frozen=True)
class ListSpeed:
    """users_per_second: of one core, lists with reasons, in batches as the nightly job makes them;
    alone_ms, alone_p95_ms: for one user on request. tables_seconds: of the tables of like texts
    and meanings, with the index; rest_seconds: of what follows the log, channels and the ranking.
    All of processor time, which other work on the machine does not change. ranking: what the final
    ranking is. gigabytes: the most memory that the process had.
    """

    items: int
    users: int
    events: int
    listed: int
    ranking: str
    users_per_second: float
    alone_ms: float
    alone_p95_ms: float
    tables_seconds: float
    rest_seconds: float
    gigabytes: float

    @property
    def line(self) -> str:
        """For a person."""
        return (
            f"{self.items:,} items, {self.users:,} users, {self.events:,} events, ranking by "
            f"{self.ranking}: {self.users_per_second:,.0f} of {self.listed:,} users a second and "
            f"core; one user alone {self.alone_ms:.1f} ms, p95 {self.alone_p95_ms:.1f} ms; tables "
            f"of what is alike {self.tables_seconds:,.0f} s, what follows the log "
            f"{self.rest_seconds:,.0f} s; {self.gigabytes:.1f} GB at most"
        )


@dataclass(frozen=True, eq=False)
class InventedShop:
    """tables_seconds, rest_seconds: see ListSpeed."""

    recommender: Recommender
    tables_seconds: float
    rest_seconds: float


def benchmark_lists(
    listed: int, say: Say, *, seed: int = 13, size: ShopSize = USUAL
) -> list[ListSpeed]:
    """Lists of LIST for at most `listed` users of the invented shop."""
    made = invented_shop(size, seed, say)
    shop = made.recommender
    names = shop.users[:listed]
    begun = time.process_time()
    shop.recommend(names, LIST)
    spent = time.process_time() - begun
    alone = []
    for name in names[:ALONE]:
        begun = time.process_time()
        shop.recommend([name], LIST)
        alone.append(1e3 * (time.process_time() - begun))
    found = ListSpeed(
        size.items,
        size.users,
        len(shop.bundle.log),
        len(names),
        shop.bundle.ranking.kind,
        len(names) / spent,
        float(np.median(alone)),
        float(np.quantile(alone, 0.95)),
        made.tables_seconds,
        made.rest_seconds,
        # Linux counts in kilobytes.
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    )
    say(found.line)
    return [found]


def invented_shop(size: ShopSize, seed: int, say: Say) -> InventedShop:
    """A recommender over an invented catalogue and log."""
    rng = np.random.default_rng(seed)
    items, users = size.items, size.users
    settings = RecommenderSettings()
    settings = settings.model_copy(
        update={"sequence": settings.sequence.model_copy(update={"epochs": 0, "least_steps": 0})}
    )
    topics = max(1, items // TOPIC_ITEMS)
    topic = rng.integers(0, topics, items)
    texts = _texts(topic, topics, rng)
    width = settings.sequence.dimensions
    meaning = _meaning(topic, topics, width, rng)
    frame = pd.DataFrame({"item_id": [f"item{row}" for row in range(items)], "title": texts})
    catalog = Catalog(frame.assign(text=texts))
    log = _log(topic, users, rng)
    split = leave_last_out(log)
    parts = Parts(split, part_of_users(users, min(0.5, TEACHING / users), seed))
    say(f"{len(log):,} events of {users:,} users on {items:,} items; {parts.line}")
    begun = time.process_time()
    known = given(catalog, meaning, settings, "invented")
    tables = time.process_time() - begun
    say(f"what is alike in words and in meaning: {tables:,.0f} s")
    held = fit_held_out(known, parts, settings, seed=seed, threads=1, say=say)
    plain = Whitening(np.zeros(width, np.float32), np.eye(width, dtype=np.float32))
    note = EncoderNote("none", "", "invented")
    bundle = Bundle(catalog, held.channels, held.ranking, plain, note)
    recommender = Recommender(bundle, RuleSettings(), "invented", threads=1)
    return InventedShop(recommender, tables, time.process_time() - begun - tables)


def _meaning(
    topic: NDArray[np.int64], topics: int, width: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(items, width) of unit length, near to the topic's, which is near to its department's."""
    departments = max(1, len(topic) // DEPARTMENT_ITEMS)
    centres = rng.standard_normal((departments, width), np.float32)
    centres = centres[rng.integers(0, departments, topics)]
    axes = rng.standard_normal((min(DIRECTIONS, width), width), np.float32)
    centres = centres + 0.6 * spread(topics, axes, rng)
    rows = centres[topic]
    for at in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[at : at + ROWS_AT_ONCE]
        part += 0.5 * spread(len(part), axes, rng)
        part[:] = unit_rows(part)
    return rows


def _texts(topic: NDArray[np.int64], topics: int, rng: np.random.Generator) -> list[str]:
    """Six words of the topic and four of the language."""
    words = int(WORDS * max(1.0, len(topic) / WORDS_OF) ** 0.5)
    own = rng.integers(0, words, (topics, TOPIC_WORDS))
    picked = own[topic[:, None], rng.integers(0, TOPIC_WORDS, (len(topic), 6))]
    # The r-th word is met in proportion to 1 / r.
    any_word = (words ** rng.random((len(topic), 4))).astype(np.int64)
    return [" ".join(f"word{word}" for word in row) for row in np.hstack([picked, any_word])]


def _log(topic: NDArray[np.int64], users: int, rng: np.random.Generator) -> Interactions:
    """EVENTS_EACH different items of each user or a few less, four of five of one topic, the first
    of a topic more often than the others."""
    order = np.argsort(topic, kind="stable")
    starts = np.searchsorted(topic[order], np.arange(int(topic.max()) + 2))
    size = np.maximum(1, np.diff(starts))
    home = rng.integers(0, len(size), users)
    owner = np.repeat(np.arange(users), EVENTS_EACH)
    place = (size[home[owner]] * rng.random(len(owner)) ** 2).astype(np.int64)
    item = order[np.minimum(starts[home[owner]] + place, len(order) - 1)]
    strange = rng.random(len(owner)) < 0.2
    item[strange] = rng.integers(0, len(topic), int(strange.sum()))
    _, first = np.unique(owner * len(topic) + item, return_index=True)
    kept = np.sort(first)
    return Interactions(
        tuple(f"user{row}" for row in range(users)),
        len(topic),
        owner[kept].astype(np.int32),
        item[kept].astype(np.int32),
        kept.astype(np.int64),
        np.ones(len(kept), np.float32),
        False,
    )
