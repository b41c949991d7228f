"""Which feeds are read: those of the settings, and those imported from other readers' lists (OPML).

An OPML file is untrusted XML: it is read as a stream of elements, no tree is built, nothing it
declares is expanded, and its size is bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from sqlalchemy import Connection, select, update

from apps.news_monitor.ingest import insert_new
from apps.news_monitor.tables import source
from apps.news_monitor.telling import web_address
from shared.errors import DataError

SETTINGS, IMPORT, NONE = "settings", "import", "none"
"""Where a feed is listed; none: nowhere any more, it is kept for its articles."""
LARGEST_FILE = 10 * 1024 * 1024
MOST_FEEDS = 10_000
LONGEST_TITLE = 200


@dataclass(frozen=True)
class Feed:
    url: str
    title: str = ""


@dataclass(frozen=True)
class Imported:
    """added: new ones; known: listed already. refused: a line for each address that is none."""

    added: int
    known: int
    refused: tuple[str, ...]


@dataclass(frozen=True)
class ListedFeed:
    """A feed that is read. origin: where it is listed; state: of its last check."""

    url: str
    title: str
    origin: str
    state: str


def sync_feeds(connection: Connection, feeds: Sequence[str], now: datetime) -> None:
    """The feeds of the settings and the imported ones, and only those, are enabled. A feed keeps
    the time at which it is to be asked next, whoever starts the monitor how often."""
    insert_new(connection, source, [_row(Feed(url), SETTINGS, now) for url in feeds])
    chosen = source.c.url.in_(feeds)
    listed = chosen | (source.c.origin == IMPORT)
    connection.execute(update(source).where(listed, ~source.c.enabled).values(enabled=True))
    connection.execute(update(source).where(~listed, source.c.enabled).values(enabled=False))


def import_feeds(connection: Connection, feeds: Sequence[Feed], now: datetime) -> Imported:
    """List these feeds beside those of the settings."""
    good, refused = [], []
    for feed in {feed.url: feed for feed in feeds}.values():
        try:
            web_address(feed.url)
        except ValueError as error:
            refused.append(str(error))
        else:
            good.append(feed)
    known = set(
        connection.execute(select(source.c.url).where(source.c.enabled.is_(True))).scalars()
    )
    insert_new(connection, source, [_row(feed, IMPORT, now) for feed in good])
    back = [feed.url for feed in good if feed.url not in known]
    for url in back:  # one that was read once and is not any more
        connection.execute(
            update(source).where(source.c.url == url).values(enabled=True, origin=IMPORT)
        )
    return Imported(len(back), len(good) - len(back), tuple(refused))


def remove_feed(connection: Connection, url: str) -> None:
    """Read an imported feed no more; its articles stay. Raises DataError if it was not imported."""
    found = connection.execute(
        update(source)
        .where(source.c.url == url, source.c.origin == IMPORT)
        .values(enabled=False, origin=NONE)
    )
    if not found.rowcount:
        raise DataError(
            f"{url}: no imported feed; those of the settings stand in triptych.toml, [news] feeds"
        )


def listed_feeds(connection: Connection) -> list[ListedFeed]:
    """The feeds that are read, by address."""
    query = select(source).where(source.c.enabled.is_(True)).order_by(source.c.url)
    return [
        ListedFeed(row.url, row.title, row.origin, row.last_status or "not asked yet")
        for row in connection.execute(query)
    ]


def read_opml(path: Path) -> list[Feed]:
    """The feeds of an OPML file in its order, whatever folders they lie in.

    Raises DataError for a file that cannot be read, is no OPML, or is too large.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST_FILE else b""
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if size > LARGEST_FILE:
        raise DataError(f"{path}: is larger than {LARGEST_FILE // 1024 // 1024} MiB")
    feeds: list[Feed] = []
    roots: list[str] = []

    def element(name: str, attributes: dict[str, str]) -> None:
        if not roots:
            roots.append(name)
        if name.lower() != "outline":
            return
        values = {key.lower(): value.strip() for key, value in attributes.items()}
        if values.get("xmlurl"):
            title = values.get("title") or values.get("text") or ""
            feeds.append(Feed(values["xmlurl"], " ".join(title.split())[:LONGEST_TITLE]))
        if len(feeds) > MOST_FEEDS:
            raise DataError(f"{path}: lists more than {MOST_FEEDS} feeds")

    def entity(*_: object) -> None:
        raise DataError(f"{path}: declares entities, which is refused")

    parser = expat.ParserCreate()
    parser.StartElementHandler = element
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"{path}: is not sound XML: {error}") from None
    if not roots or roots[0].lower() != "opml":
        raise DataError(f"{path}: is no OPML file: its first element is <{roots[0]}>")
    return feeds


def opml_text(feeds: Sequence[Feed]) -> str:
    """OPML 2.0 with these feeds, as other readers import it."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<opml version="2.0">']
    lines += ["<head><title>Triptych news monitor</title></head>", "<body>"]
    for feed in feeds:
        title = quoteattr(feed.title or feed.url)
        url = quoteattr(feed.url)
        lines.append(f'<outline type="rss" text={title} title={title} xmlUrl={url}/>')
    return "\n".join([*lines, "</body>", "</opml>", ""])


def _row(feed: Feed, origin: str, now: datetime) -> dict[str, object]:
    return {
        "url": feed.url,
        "title": feed.title,
        "enabled": True,
        "origin": origin,
        "next_check_at": now,
        "last_status": "",
        "last_error": "",
        "error_count": 0,
        "created_at": now,
    }
