"""`triptych benchmark lists`: how many users a second get a finished list, and how long one waits.

The shop is invented: items of a topic are worded and meant alike, and a user stays mostly with one
topic. The sequence model is not trained (that changes no time); the final ranking is.
"""

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

Say = Callable[[str], None]

ITEMS, USERS = 12_000, 22_000
EVENTS_EACH = 9
TOPIC_ITEMS = 40
WORDS, TOPIC_WORDS = 6_000, 12
# Users whose last items teach the final ranking.
TEACHING = 2_000
ALONE = 200
LIST = 10


@dataclass(frozen=True)
class ListSpeed:
    """users_per_second: of one core, lists with reasons, in batches as the nightly job makes them;
    alone_ms, alone_p95_ms: for one user on request. All of processor time, which other work on the
    machine does not change. ranking: what the final ranking is.
    """

    users: int
    items: int
    ranking: str
    users_per_second: float
    alone_ms: float
    alone_p95_ms: float

    @property
    def line(self) -> str:
        """For a person."""
        return (
            f"{self.users:,} users x {self.items:,} items, ranking by {self.ranking}: "
            f"{self.users_per_second:,.0f} users a second and core; one user alone "
            f"{self.alone_ms:.1f} ms, p95 {self.alone_p95_ms:.1f} ms"
        )


def benchmark_lists(users: int, say: Say, *, seed: int = 13, items: int = ITEMS) -> list[ListSpeed]:
    """Lists of LIST for at most USERS users of the invented shop."""
    shop = invented_shop(min(users, USERS), items, seed, say)
    begun = time.process_time()
    shop.recommend(None, LIST)
    spent = time.process_time() - begun
    alone = []
    for name in shop.users[:ALONE]:
        begun = time.process_time()
        shop.recommend([name], LIST)
        alone.append(1e3 * (time.process_time() - begun))
    found = ListSpeed(
        len(shop.users),
        items,
        shop.bundle.ranking.kind,
        len(shop.users) / spent,
        float(np.median(alone)),
        float(np.quantile(alone, 0.95)),
    )
    say(found.line)
    return [found]


def invented_shop(users: int, items: int, seed: int, say: Say) -> Recommender:
    """A recommender over an invented catalogue and log."""
    rng = np.random.default_rng(seed)
    settings = RecommenderSettings()
    settings = settings.model_copy(
        update={"sequence": settings.sequence.model_copy(update={"epochs": 0, "least_steps": 0})}
    )
    topics = max(1, items // TOPIC_ITEMS)
    topic = rng.integers(0, topics, items)
    texts = _texts(topic, topics, rng)
    width = settings.sequence.dimensions
    meant = rng.standard_normal((topics, width), np.float32)[topic]
    meaning = unit_rows(meant + rng.standard_normal((items, width), np.float32))
    frame = pd.DataFrame({"item_id": [f"item{row}" for row in range(items)], "title": texts})
    catalog = Catalog(frame.assign(text=texts))
    log = _log(topic, users, rng)
    split = leave_last_out(log)
    parts = Parts(split, part_of_users(users, min(0.5, TEACHING / users), seed))
    say(f"{len(log):,} events of {users:,} users on {items:,} items; {parts.line}")
    held = fit_held_out(
        given(catalog, meaning, settings, "invented"), parts, settings, seed=seed, threads=1,
        say=say,
    )  # fmt: skip
    plain = Whitening(np.zeros(width, np.float32), np.eye(width, dtype=np.float32))
    note = EncoderNote("none", "", "invented")
    bundle = Bundle(catalog, held.channels, held.ranking, plain, note)
    return Recommender(bundle, RuleSettings(), "invented", threads=1)


def _texts(topic: NDArray[np.int64], topics: int, rng: np.random.Generator) -> list[str]:
    """Six words of the topic and four of all."""
    own = rng.integers(0, WORDS, (topics, TOPIC_WORDS))
    picked = own[topic[:, None], rng.integers(0, TOPIC_WORDS, (len(topic), 6))]
    any_word = rng.integers(0, WORDS, (len(topic), 4))
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
