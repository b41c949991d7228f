"""`triptych benchmark monitor`: a round over a hundred feeds, a replay of two years, and labelling.

The feeds are served on loopback from one host, which the monitor asks one at a time, and hold
headlines made of the words that the model's own report was written on. Their rival is feedparser
alone, reading the same feeds one after the other and keeping nothing.
"""

import http.server
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html import escape
from pathlib import Path
from typing import Any

import feedparser
import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.labelling import Labeller
from apps.news_monitor.labels import SENTIMENTS
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.replay import replay
from apps.news_monitor.settings import FetchSettings, NewsSettings
from shared.errors import DataError
from shared.evaluation.forgetting import kept_texts
from shared.inference.runtime import TOKENIZER_FILE
from shared.pretrained import resolve
from shared.registry import Registry
from shared.settings import Home
from shared.storage import create_engine

Say = Callable[[str], None]

FEEDS, ENTRIES = 100, 40
WORDS = (9, 15)  # of a headline: 16 to 24 tokens or so
TOPICS, DAYS, STORIES_A_DAY = 10, 730, 60
LABELLED = 2_048
SHARES = (0.2, 0.5, 0.3)  # of the sentiments, negative first


@dataclass(frozen=True)
class MonitorSpeed:
    """seconds, cpu_seconds: of a round (fetched, stored, labelled as far as a round does, judged
    and told), of feedparser alone on the same feeds, of the replay; labels_per_second: by the clock
    with `threads`, and by a second of one processor."""

    new: int
    labelled: int
    tick_seconds: float
    tick_cpu_seconds: float
    rival_seconds: float
    labels_per_second: float
    labels_per_cpu_second: float
    tokens: float
    replayed: int
    replay_seconds: float
    replay_cpu_seconds: float

    @property
    def lines(self) -> tuple[str, ...]:
        """For a person."""
        return (
            f"a round over {FEEDS} feeds of {ENTRIES}: {self.tick_seconds:.1f} s "
            f"({self.tick_cpu_seconds:.1f} s of processor), {self.new} new, {self.labelled} "
            f"labelled; feedparser alone {self.rival_seconds:.1f} s",
            f"labels: {self.labels_per_second:,.0f} headlines a second, "
            f"{self.labels_per_cpu_second:,.0f} for a second of one processor; "
            f"{self.tokens:.1f} tokens on average",
            f"a replay of {DAYS} days, {TOPICS} topics, {self.replayed:,} labelled headlines: "
            f"{self.replay_seconds:.1f} s ({self.replay_cpu_seconds:.1f} s of processor)",
        )


def benchmark_monitor(
    model: str, *, home: Home, threads: int | None, seed: int, say: Say
) -> MonitorSpeed:
    """With news model `model` of `home`.

    Raises: ModelError: no such model. DataError: it keeps no texts of its report.
    """
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(model, app="news")
    texts = tuple((kept_texts(version.path) or {}).values())
    if not texts:
        raise DataError(f"{version.path} keeps no headlines of its report: train it again")
    labeller = Labeller.load(version.path, home=home, threads=threads, name=version.reference)
    words = sorted({word for text in texts for word in text.split()})
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory(prefix="triptych-monitor-") as name:
        say(f"a round of the monitor with {version.reference}")
        round_ = _round(labeller, headlines(FEEDS * ENTRIES, words, rng), Path(name))
        say(f"labelling {LABELLED} headlines")
        titles = headlines(LABELLED, words, rng)
        labels = _labels(labeller, titles)
        base = resolve(labeller.config.base, cache=home.cache).path
        tokenizer = Tokenizer.from_file(str(base / TOKENIZER_FILE))
        labels["tokens"] = float(
            np.mean([sum(e.attention_mask) for e in tokenizer.encode_batch(titles)])
        )
        say(f"replaying {DAYS} days")
        replayed = _replay(headlines(DAYS * STORIES_A_DAY, words, rng), Path(name), rng)
    found = MonitorSpeed(**round_, **labels, **replayed)
    for line in found.lines:
        say(line)
    return found


def headlines(count: int, words: Sequence[str], rng: np.random.Generator) -> list[str]:
    """So many of WORDS words drawn at random, so that none is a copy of another."""
    lengths = rng.integers(WORDS[0], WORDS[1], count)
    return [" ".join(rng.choice(words, length)) for length in lengths]


def _round(labeller: Labeller, titles: Sequence[str], folder: Path) -> dict[str, Any]:
    now = datetime.now(UTC)
    with _served(_feed_files(titles, now)) as addresses:
        settings = NewsSettings(
            feeds=addresses,
            recipients=("desk@example.com",),
            fetch=FetchSettings(allow_hosts=("127.0.0.1",)),
        )
        engine = create_engine(f"sqlite:///{folder / 'round.db'}")
        try:
            monitor = Monitor(engine, settings, labeller, OutboxMailer(folder / "outbox"))
            begun, spent = time.perf_counter(), time.process_time()
            report = monitor.tick(now)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
        finally:
            engine.dispose()
        begun = time.perf_counter()
        for address in addresses:
            assert len(feedparser.parse(address).entries) == ENTRIES
        rival = time.perf_counter() - begun
    return {
        "new": report.new,
        "labelled": report.labelled,
        "tick_seconds": seconds,
        "tick_cpu_seconds": cpu,
        "rival_seconds": rival,
    }


def _feed_files(titles: Sequence[str], now: datetime) -> list[bytes]:
    """RSS, one story a minute back from `now` in each feed."""
    files = []
    for feed in range(FEEDS):
        own = titles[feed * ENTRIES : (feed + 1) * ENTRIES]
        items = "".join(
            f"<item><title>{escape(title)}</title>"
            f"<link>https://feed{feed}.example/{number}</link>"
            f"<pubDate>{format_datetime(now - timedelta(minutes=number))}</pubDate></item>"
            for number, title in enumerate(own)
        )
        channel = f"<channel><title>Feed {feed}</title>{items}</channel>"
        files.append(f'<rss version="2.0">{channel}</rss>'.encode())
    return files


@contextmanager
def _served(files: Sequence[bytes]) -> Iterator[tuple[str, ...]]:
    """The addresses of the files, on loopback."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files[int(self.path.removeprefix("/"))]
            self.send_response(200)
            self.send_header("Content-Type", "application/rss+xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        yield tuple(f"http://127.0.0.1:{port}/{number}" for number in range(len(files)))
        server.shutdown()


def _labels(labeller: Labeller, titles: Sequence[str]) -> dict[str, Any]:
    labeller.label(titles[:64])
    begun, spent = time.perf_counter(), time.process_time()
    labeller.label(titles)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
    return {
        "labels_per_second": len(titles) / seconds,
        "labels_per_cpu_second": len(titles) / cpu,
    }


def _replay(titles: Sequence[str], folder: Path, rng: np.random.Generator) -> dict[str, Any]:
    minutes = np.sort(rng.integers(0, DAYS * 24 * 60, len(titles)))
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    frame = pd.DataFrame(
        {
            "published_at": [begin + timedelta(minutes=int(minute)) for minute in minutes],
            "title": titles,
            "sentiment": rng.choice(SENTIMENTS, len(titles), p=SHARES),
            "topics": [f"Topic {n}" for n in rng.integers(0, TOPICS, len(titles))],
        }
    )
    items = folder / "items.csv"
    frame.to_csv(items, index=False)
    begun, spent = time.perf_counter(), time.process_time()
    report = replay(items, output=folder / "replayed", labeller=None, settings=NewsSettings())
    return {
        "replayed": report.items,
        "replay_seconds": time.perf_counter() - begun,
        "replay_cpu_seconds": time.process_time() - spent,
    }
