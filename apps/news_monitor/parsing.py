"""From a feed's bytes to entries: RSS, Atom and JSON Feed, whatever state they are in.

feedparser is only ever given a stream: handed a string it would open the address or the file of
that name. A document type definition is cut away unread; a feed that declares entities made of
other entities, of files or of long texts is refused: a few hundred bytes of them unfold to
gigabytes. (Short plain ones, which some old feeds have, are left for the parser.)
"""

import calendar
import io
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import feedparser

DOCTYPE = re.compile(rb"<!DOCTYPE\s[^\[<>]*(\[(?P<subset>.*?)\]\s*)?>", re.IGNORECASE | re.DOTALL)
ROOT = re.compile(rb"<[A-Za-z]")
ENTITY = re.compile(rb"<!ENTITY\s+(?!%)", re.IGNORECASE)
FLAT_ENTITY = re.compile(
    rb"<!ENTITY\s+[\w.-]+\s+([\"'])(&\#x?\w{1,8};|[^&%\"']{0,100})\1\s*>", re.IGNORECASE
)
HARMLESS = (feedparser.NonXMLContentType, feedparser.CharacterEncodingOverride)
"""Complaints about the header of a feed that was read well."""
FIELD_LIMIT = 20_000
PERIODS = {"hourly": 60, "daily": 1440, "weekly": 10_080, "monthly": 43_200, "yearly": 525_600}
"""Minutes."""


@dataclass(frozen=True)
class Entry:
    """One item as the feed gives it: HTML not yet stripped, nothing yet judged. published: UTC."""

    guid: str = ""
    url: str = ""
    title: str = ""
    summary: str = ""
    published: datetime | None = None
    publisher: str = ""


@dataclass(frozen=True)
class ParsedFeed:
    """title, language: of the feed. problem: one line; entries may be there all the same.
    own_minutes: how often it says that it is made anew (ttl, or sy:updatePeriod), if it does."""

    title: str = ""
    language: str = ""
    entries: tuple[Entry, ...] = ()
    problem: str = ""
    own_minutes: float | None = None


def parse_feed(body: bytes, *, url: str, content_type: str = "", limit: int = 1000) -> ParsedFeed:
    """Entries of a feed in its order, the first `limit` of them. Never raises for any bytes."""
    if not body.strip():
        return ParsedFeed(problem="the feed is empty (0 bytes)")
    if body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{":
        return _json_feed(body, url, limit)
    try:
        safe = without_doctype(body)
    except ValueError as error:
        return ParsedFeed(problem=str(error))
    headers = {"content-location": url}
    if content_type:
        headers["content-type"] = content_type
    try:
        found = feedparser.parse(io.BytesIO(safe), response_headers=headers)
    except Exception as error:
        # feedparser has raised KeyError, LookupError, RecursionError and UnicodeError on hostile
        # bytes; whatever the next one is, it must cost this feed only, and it is told.
        return ParsedFeed(problem=f"not readable as a feed ({type(error).__name__}: {error})"[:200])
    entries = tuple(_entry(raw) for raw in found.entries[:limit])
    problem = ""
    if not entries and not found.get("version"):
        problem = "not a feed: neither RSS nor Atom nor JSON Feed"
    elif found.get("bozo") and not isinstance(found.get("bozo_exception"), HARMLESS):
        reason = " ".join(str(found.get("bozo_exception", "")).split())
        problem = f"malformed: {reason}"[:200]
    about = found.get("feed", {})
    return ParsedFeed(
        title=_text(about.get("title")),
        language=_text(about.get("language"))[:20],
        entries=entries,
        problem=problem,
        own_minutes=own_minutes(about),
    )


def own_minutes(about: Mapping[str, Any]) -> float | None:
    """The longer of RSS's ttl and the syndication module's period divided by its frequency.

    Source: RSS 2.0, "ttl is a number of minutes"; web.resource.org/rss/1.0/modules/syndication.

    >>> own_minutes({"ttl": "30", "sy_updateperiod": "daily", "sy_updatefrequency": "12"})
    120.0
    """
    ttl = _count(about.get("ttl"))
    period = PERIODS.get(_text(about.get("sy_updateperiod")).strip().casefold())
    often = _count(about.get("sy_updatefrequency")) or 1
    said = [minutes for minutes in (ttl, period and period / often) if minutes]
    return float(max(said)) if said else None


def _count(value: Any) -> int | None:
    text = _text(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


def without_doctype(body: bytes) -> bytes:
    """The document without its type definition; as it is where that only names short plain texts.

    Raises ValueError if it declares any other entity.
    """
    # UTF-16 and UTF-32 spell ASCII with zero bytes between: looked at without them.
    plain = body.replace(b"\0", b"")
    root = ROOT.search(plain)  # a definition behind the first element is none
    plain = plain[: root.start()] if root else plain
    declared = len(ENTITY.findall(plain))
    if declared > len(FLAT_ENTITY.findall(plain)):
        raise ValueError("declares entities in a document type definition (DTD), which is refused")
    if declared or b"<!doctype" not in plain.lower() or not body.startswith(plain):
        return body  # feedparser itself drops a definition in wide characters
    return DOCTYPE.sub(b"", plain, count=1) + body[len(plain) :]


def _text(value: Any) -> str:
    return value[:FIELD_LIMIT] if isinstance(value, str) else ""


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, time.struct_time) or not 1 <= value.tm_year <= 9998:
        return None
    try:
        return datetime.fromtimestamp(calendar.timegm(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _entry(raw: Any) -> Entry:
    content = raw.get("content") or [{}]
    summary = _text(raw.get("summary")) or _text(content[0].get("value"))
    # Read as from a plain dict: feedparser's own get stands in for a missing field by another, and
    # warns of it.
    dates = (dict.get(raw, f"{name}_parsed") for name in ("published", "updated", "created"))
    published = next((at for at in map(_moment, dates) if at is not None), None)
    source = raw.get("source") or {}
    return Entry(
        guid=_text(raw.get("id")),
        url=_text(raw.get("link")),
        title=_text(raw.get("title")),
        summary=summary,
        published=published,
        publisher=_text(source.get("title")) if isinstance(source, dict) else "",
    )


def _json_feed(body: bytes, url: str, limit: int) -> ParsedFeed:
    """JSON Feed 1.0 and 1.1 (jsonfeed.org)."""
    try:
        feed = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return ParsedFeed(problem=f"not readable as a JSON Feed ({error})"[:200])
    items = feed.get("items") if isinstance(feed, dict) else None
    if not isinstance(items, list):
        return ParsedFeed(problem="not a feed: JSON without a list of items")
    entries = []
    for raw in items[:limit]:
        if not isinstance(raw, dict):
            continue
        link = _text(raw.get("url")) or _text(raw.get("external_url"))
        body_text = raw.get("summary") or raw.get("content_text") or raw.get("content_html")
        identity = raw.get("id")
        entries.append(
            Entry(
                guid=str(identity) if isinstance(identity, str | int | float) else "",
                url=_joined(url, link),
                title=_text(raw.get("title")),
                summary=_text(body_text),
                published=_iso(raw.get("date_published")) or _iso(raw.get("date_modified")),
            )
        )
    skipped = len(items[:limit]) - len(entries)
    return ParsedFeed(
        title=_text(feed.get("title")),
        language=_text(feed.get("language"))[:20],
        entries=tuple(entries),
        problem=f"malformed: {skipped} items are no objects" if skipped else "",
    )


def _joined(base: str, link: str) -> str:
    try:
        return urljoin(base, link) if link else ""
    except ValueError:
        return ""


def _iso(value: Any) -> datetime | None:
    try:
        when = datetime.fromisoformat(value)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
