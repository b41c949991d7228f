"""From a feed's entry to an article: plain text, canonical address, a date one can believe."""

import hashlib
import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import nh3

from apps.news_monitor.parsing import Entry
from shared.text import normalise

DateQuality = Literal["given", "missing", "future", "old"]

OLDEST = timedelta(days=7)
CLOCK_SKEW = timedelta(minutes=15)
TITLE_LIMIT = 500
SUMMARY_LIMIT = 2000
NAME_LIMIT = 200
"""Of a publisher, and so of a feed's title."""
URL_LIMIT = 2000
TRACKING = re.compile(
    r"(utm_\w+|fbclid|gclid|dclid|msclkid|mc_[ce]id|igshid|cmpid|cmp|ncid|ocid|sref|"
    r"at_\w+|xtor|smid|partner|guccounter|taid|mod|__source|rss|feedtype|feedname)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Article:
    """key: sha256, the same for the same article whenever it is fetched. effective_at: when it
    counts. title, summary: plain text; url: http(s) or empty."""

    key: str
    url: str
    title: str
    summary: str
    publisher: str
    published_at: datetime | None
    effective_at: datetime
    date_quality: DateQuality

    @property
    def text(self) -> str:
        """What is labelled: the headline, or the first of the summary where there is none."""
        return self.title or self.summary


def plain_text(markup: str, limit: int) -> str:
    """Text without tags, scripts or styles, entities resolved, at most `limit` characters.

    May hold < and > as characters: it is text, and whoever shows it escapes it.
    """
    # JSON can hold lone surrogates, which no UTF-8 can.
    sound = markup[: limit * 10].encode("utf-8", "ignore").decode("utf-8")
    text = normalise(html.unescape(nh3.clean(sound, tags=set())))
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def canonical_url(url: str) -> str:
    """The address without fragment, tracking parameters, default port and case of the host.

    "" for anything but http and https (javascript:, data:, relative), and for a host with
    characters that do not print.
    """
    try:
        parts = urlsplit(url.strip())
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").lower(), parts.port
        if scheme not in ("http", "https") or not host or len(url) > URL_LIMIT:
            return ""
        if not host.isprintable():  # NUL or a lone surrogate, which the database refuses
            return ""
        host = f"[{host}]" if ":" in host else host
        if port is not None and port != (443 if scheme == "https" else 80):
            host = f"{host}:{port}"
        query = [
            (name, value)
            for name, value in parse_qsl(parts.query, keep_blank_values=True)
            if not TRACKING.fullmatch(name)
        ]
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        return urlunsplit((scheme, host, path, urlencode(sorted(query)), ""))
    except ValueError:  # a port that is none, a broken IPv6 address, a lone surrogate
        return ""


def effective_time(
    published: datetime | None,
    fetched: datetime,
    oldest: timedelta = OLDEST,
    *,
    first_read: bool = False,
) -> tuple[datetime, DateQuality]:
    """When an article counts: its own date, if that lies within `oldest` before it was fetched.

    A date in the future counts as now (a publisher's clock a few minutes ahead is not remarked),
    one long past as the oldest that is believed: neither may move what was already judged. Without
    a date it counts as now, when it is first seen; with first_read as the oldest that is believed.
    """
    if published is None:
        # Of a feed that was never read nobody knows how old it is: as news of this hour, the
        # backlog of one new publisher would be a surge. OLDEST lies before the windows that surges
        # are looked for in, and vectors of stories are kept for no longer.
        return fetched - oldest if first_read else fetched, "missing"
    if published > fetched:
        return fetched, "future" if published - fetched > CLOCK_SKEW else "given"
    if published < fetched - oldest:
        return fetched - oldest, "old"
    return published, "given"


def articles_of(
    entries: Sequence[Entry],
    *,
    publisher: str,
    fetched: datetime,
    oldest: timedelta = OLDEST,
    first_read: bool = False,
) -> list[Article]:
    """The entries as articles, in order, each article once. Entries without any text are left out.

    publisher: of the feed, where the entry names none. first_read: of a feed that was never read
    before; see effective_time.
    """
    urls = [canonical_url(entry.url) for entry in entries]
    shared_urls = {url for url, count in Counter(urls).items() if count > 1}
    articles: dict[str, Article] = {}
    for entry, url in zip(entries, urls, strict=True):
        title = plain_text(entry.title, TITLE_LIMIT)
        summary = plain_text(entry.summary, SUMMARY_LIMIT)
        if not title and not summary:
            continue
        at, quality = effective_time(entry.published, fetched, oldest, first_read=first_read)
        # Some feeds link every entry to the same page: then the address says nothing.
        own_url = "" if url in shared_urls else url
        key = article_key(own_url, entry.guid, title or summary, entry.published)
        name = plain_text(entry.publisher, NAME_LIMIT) or publisher
        article = Article(key, url, title, summary, name, entry.published, at, quality)
        articles.setdefault(key, article)
    return list(articles.values())


def article_key(url: str, guid: str, title: str, published: datetime | None) -> str:
    """sha256 of the address, else of the feed's own id, else of the title and its day.

    A guid is taken without its fragment: some publishers count revisions there (#0, #1). Without a
    date it is the title alone: what stays in a feed for weeks is not news again each day.
    """
    if url:
        identity = f"url {url}"
    elif guid.strip():
        identity = f"guid {guid.strip().split('#')[0] or guid} {title.casefold()}"
    else:
        day = "" if published is None else f" {published:%Y-%m-%d}"
        identity = f"title {title.casefold()}{day}"
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
