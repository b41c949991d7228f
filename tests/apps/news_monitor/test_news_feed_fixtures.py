"""A folder of feed files, odd and hostile ones, served from loopback and read as the monitor reads.

    python tests/apps/news_monitor/test_news_feed_fixtures.py FOLDER

Three things must hold for every file: nothing raises, no entry with a text is lost, and a second
reading stores nothing again. What a file holds is what feedparser alone finds in its bytes, without
any of the monitor's own steps; files the monitor refuses are listed with their reason.
"""

import functools
import http.server
import io
import random
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import feedparser

from apps.news_monitor.articles import SUMMARY_LIMIT, TITLE_LIMIT, articles_of, plain_text
from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.feeds import FetchStatus, feed_client, fetch
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.parsing import parse_feed
from apps.news_monitor.settings import FetchSettings, NewsSettings
from shared.storage import create_engine

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
REFUSED_ON_PURPOSE = "document type definition"
SUFFIXES = (".xml", ".json", ".rss", ".atom", ".rdf")


SAMPLES = Path(__file__).resolve().parents[3] / "data" / "samples" / "news" / "feeds"
HEAD = b"<rss version='2.0'><channel><title>t</title>"
ODD = {
    "cut.xml": HEAD + b"<item><title>A bank fails</title></item><item><title>Oil",
    "twice.xml": HEAD + b"<item><title>Same</title><guid>1</guid></item>" * 2 + b"</channel></rss>",
    "one-link.xml": HEAD
    + b"".join(
        b"<item><title>Story %d</title><link>https://n.example/</link></item>" % n for n in range(3)
    )
    + b"</channel></rss>",
    "summary.xml": HEAD + b"<item><description>Only a summary</description></item></channel></rss>",
    "script.xml": HEAD
    + b"<item><title>&lt;script&gt;x()&lt;/script&gt;Shares fall</title></item></channel></rss>",
    "bomb.xml": b'<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + HEAD
    + b"<item><title>&b;</title></item></channel></rss>",
    "page.xml": b"<html><body>log in</body></html>",
    "empty.xml": b"",
    "feed.json": b'{"version":"https://jsonfeed.org/version/1.1","items":[{"id":1,"title":"J"}]}',
}  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """files: read; stored: items after the first reading; again: new ones in the second, which
    should be 0. lost: (file, text) of entries that are not among the articles; refused: file ->
    why the monitor would not read it."""

    files: int
    stored: int
    again: int
    lost: tuple[tuple[str, str], ...]
    refused: dict[str, str]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder on loopback: its host and port."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def check_folder(folder: Path, work: Path) -> Checked:
    """Read every feed file under the folder twice; `work` is for the database."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    with served(folder) as host:
        urls = {f"http://{host}/{quote(str(p.relative_to(folder)))}": p for p in files}
        fetching = FetchSettings(allow_hosts=(host,))
        settings = NewsSettings(feeds=tuple(urls), fetch=fetching)
        engine = create_engine(f"sqlite:///{work / 'feeds.db'}")
        box = OutboxMailer(work / "outbox")
        rounds = [
            Monitor(engine, settings, None, box, jitter=random.Random(1)).tick(at)
            for at in (NOW, NOW + timedelta(days=1))
        ]
        engine.dispose()
        lost, refused = _lost(urls, fetching, folder)
    if len(rounds[0].sources) != len(files):
        raise AssertionError(f"{len(files)} files, {len(rounds[0].sources)} read")
    return Checked(len(files), rounds[0].new, rounds[1].new, tuple(lost), refused)


def _lost(
    urls: dict[str, Path], settings: FetchSettings, folder: Path
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    lost: list[tuple[str, str]] = []
    refused: dict[str, str] = {}
    with feed_client(settings) as client:
        for url, path in urls.items():
            name = str(path.relative_to(folder))
            fetched = fetch(client, url, settings, now=NOW)
            if fetched.status is not FetchStatus.OK:
                refused[name] = fetched.error
                continue
            parsed = parse_feed(fetched.body, url=url, content_type=fetched.content_type)
            if parsed.problem and not parsed.entries:
                refused[name] = parsed.problem
                if REFUSED_ON_PURPOSE in parsed.problem:
                    continue
            kept = {a.text for a in articles_of(parsed.entries, publisher="p", fetched=NOW)}
            wanted = texts_of(path.read_bytes(), fetched.content_type)
            lost += [(name, text) for text in wanted if text not in kept]
    return lost, refused


def texts_of(body: bytes, content_type: str) -> Sequence[str]:
    """Headline, or summary where there is none, of each entry as feedparser finds them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = feedparser.parse(io.BytesIO(body), response_headers={"content-type": content_type})
    texts = []
    for entry in found.entries:
        content = entry.get("content") or [{}]
        summary = entry.get("summary") or content[0].get("value") or ""
        text = plain_text(entry.get("title") or "", TITLE_LIMIT)
        texts.append(text or plain_text(summary, SUMMARY_LIMIT))
    return [text for text in dict.fromkeys(texts) if text]


def test_sample_feeds_and_odd_ones_are_read_whole_and_once(tmp_path: Path) -> None:
    folder = tmp_path / "feeds"
    folder.mkdir()
    for name, body in ODD.items():
        (folder / name).write_bytes(body)
    for path in SAMPLES.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    checked = check_folder(folder, tmp_path)
    assert (checked.lost, checked.again) == ((), 0)
    assert checked.files == len(ODD) + len(list(SAMPLES.iterdir()))
    assert checked.refused == {
        "bomb.xml": "declares entities in a document type definition (DTD), which is refused",
        "empty.xml": "the feed is empty (0 bytes)",
        "page.xml": "not a feed: neither RSS nor Atom nor JSON Feed",
    }
    assert checked.stored > 60


def test_what_a_file_holds_is_counted_without_the_monitor() -> None:
    assert texts_of(ODD["one-link.xml"], "text/xml") == ["Story 0", "Story 1", "Story 2"]
    assert texts_of(ODD["summary.xml"], "text/xml") == ["Only a summary"]
    assert texts_of(ODD["twice.xml"], "text/xml") == ["Same"]


def main(folder: str) -> int:
    """Print what came of it; 1 if anything was lost or stored twice."""
    with tempfile.TemporaryDirectory() as work:
        checked = check_folder(Path(folder), Path(work))
    print(f"{checked.files} files, {checked.stored} articles stored, {checked.again} stored again")
    print(f"{len(checked.refused)} files refused:")
    for name, why in checked.refused.items():
        print(f"  {name}: {why}")
    print(f"{len(checked.lost)} entries lost:")
    for name, text in checked.lost:
        print(f"  {name}: {text[:100]}")
    return 1 if checked.lost or checked.again else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
