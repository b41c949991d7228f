"""Fetching a feed: polite, bounded, and never an exception. What went wrong is a row."""

import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum

import httpx

from apps.news_monitor.public_addresses import PublicTransport, RefusedAddressError
from apps.news_monitor.settings import FetchSettings
from shared.text import normalise

LONGEST_WAIT = timedelta(hours=24)
MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
CHUNK = 64 * 1024
ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, application/xml;q=0.9, "
    "text/xml;q=0.8, */*;q=0.1"
)


class FetchStatus(StrEnum):
    OK = "ok"
    NOT_MODIFIED = "not_modified"
    BUSY = "busy"
    GONE = "gone"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True)
class Fetched:
    """The outcome of one request, redirects followed.

    body: unpacked, only with OK. etag, last_modified: opaque, to be sent back as they came; None
    for those that no header can carry.
    content_type: the header, for the charset. retry_after: the server's wish, at most 24 h.
    fresh_for: how long it says that this answer holds (Cache-Control, or Expires), at most 24 h.
    error: one line, empty with OK and NOT_MODIFIED. code: the last HTTP status, None without one.
    """

    status: FetchStatus
    url: str
    body: bytes = b""
    content_type: str = ""
    etag: str | None = None
    last_modified: str | None = None
    retry_after: timedelta | None = None
    fresh_for: timedelta | None = None
    error: str = ""
    code: int | None = None
    milliseconds: int = 0


class _TooLargeError(Exception):
    pass


class _TooSlowError(Exception):
    pass


def feed_client(settings: FetchSettings) -> httpx.Client:
    """A client that reaches public addresses only (and those allowed by name), without cookies of
    other feeds, proxies or passwords of the surroundings. Close it."""
    return httpx.Client(
        transport=PublicTransport(settings.allow_hosts, seconds=settings.total_seconds),
        follow_redirects=True,
        max_redirects=settings.max_redirects,
        timeout=httpx.Timeout(settings.connect_seconds),
        headers={
            "User-Agent": settings.user_agent,
            "Accept": ACCEPT,
            "Accept-Encoding": "gzip, deflate",
        },
        trust_env=False,
    )


def fetch(
    client: httpx.Client,
    url: str,
    settings: FetchSettings,
    *,
    now: datetime,
    etag: str | None = None,
    last_modified: str | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Fetched:
    """GET a feed, conditionally if etag or last_modified are known. No feed makes it raise."""
    begun = clock()
    known = {"If-None-Match": _validator(etag), "If-Modified-Since": _validator(last_modified)}
    headers = {name: value for name, value in known.items() if value}
    deadline = begun + settings.total_seconds
    try:
        with client.stream("GET", url, headers=headers) as response:
            fetched = _read(response, settings, deadline, now, clock)
    except RefusedAddressError as error:
        fetched = Fetched(FetchStatus.REFUSED, url, error=str(error))
    except httpx.TooManyRedirects:
        limit = settings.max_redirects
        fetched = Fetched(FetchStatus.FAILED, url, error=f"more than {limit} redirects")
    except (httpx.TimeoutException, _TooSlowError):
        seconds = settings.total_seconds
        fetched = Fetched(FetchStatus.FAILED, url, error=f"no whole answer within {seconds:g} s")
    except _TooLargeError:
        mib = settings.max_bytes / 1024 / 1024
        fetched = Fetched(FetchStatus.FAILED, url, error=f"larger than {mib:g} MiB")
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        fetched = Fetched(FetchStatus.REFUSED, url, error=f"not an http(s) address: {error}")
    except httpx.HTTPError as error:
        fetched = Fetched(FetchStatus.FAILED, url, error=_one_line(error))
    except zlib.error as error:
        fetched = Fetched(FetchStatus.FAILED, url, error=f"broken compression ({error})")
    except Exception as error:
        # Servers have made httpx and idna raise what is no HTTPError, with addresses and headers
        # that are none; whatever the next one sends, it must cost this feed only, and it is told.
        fetched = Fetched(FetchStatus.FAILED, url, error=reason_of(error))
    client.cookies.clear()
    return _timed(fetched, clock() - begun)


def reason_of(error: Exception) -> str:
    """One line about what nobody thought of."""
    name, said = type(error).__name__, _one_line(error)
    return name if said == name else f"{name}: {said}"


def _timed(fetched: Fetched, seconds: float) -> Fetched:
    return Fetched(**{**fetched.__dict__, "milliseconds": round(seconds * 1000)})


def _one_line(error: Exception) -> str:
    text = normalise(str(error)) or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."


def _validator(value: str | None) -> str | None:
    """As it came, or None where it cannot be sent back: headers are ASCII."""
    return value if value and value.isascii() and value.isprintable() else None


def _read(
    response: httpx.Response,
    settings: FetchSettings,
    deadline: float,
    now: datetime,
    clock: Callable[[], float],
) -> Fetched:
    url, code = str(response.url), response.status_code
    wait = retry_after(response.headers.get("Retry-After"), now)
    if code == 304:
        return Fetched(
            FetchStatus.NOT_MODIFIED,
            url,
            etag=_validator(response.headers.get("ETag")),
            last_modified=_validator(response.headers.get("Last-Modified")),
            fresh_for=fresh_for(response.headers, now),
            code=code,
        )
    if code in (429, 503):
        return Fetched(
            FetchStatus.BUSY, url, retry_after=wait, code=code, error=f"HTTP {code}: asked to wait"
        )
    if code == 410:
        return Fetched(
            FetchStatus.GONE, url, code=code, error="HTTP 410: the feed is gone for good"
        )
    if code != 200:
        reason = f"HTTP {code} {response.reason_phrase}".strip()
        return Fetched(FetchStatus.FAILED, url, retry_after=wait, code=code, error=reason)
    body = b"".join(_unpacked(response, settings.max_bytes, deadline, clock))
    return Fetched(
        FetchStatus.OK,
        url,
        body=body,
        content_type=response.headers.get("Content-Type", ""),
        etag=_validator(response.headers.get("ETag")),
        last_modified=_validator(response.headers.get("Last-Modified")),
        fresh_for=fresh_for(response.headers, now),
        code=code,
    )


def _unpacked(
    response: httpx.Response, limit: int, deadline: float, clock: Callable[[], float]
) -> Iterator[bytes]:
    """The body, unpacked here and not by httpx: a bomb is counted while it is unpacked."""
    encoding = response.headers.get("Content-Encoding", "identity").lower().strip()
    if encoding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise httpx.DecodingError(f"unasked Content-Encoding {encoding}", request=response.request)
    unpack = None if encoding in ("identity", "") else zlib.decompressobj(47)
    left = limit
    for raw in response.iter_raw(CHUNK):
        if clock() > deadline:
            raise _TooSlowError
        if unpack is None:
            piece = raw
        else:
            try:
                piece = unpack.decompress(raw, left + 1)
            except zlib.error:
                if encoding != "deflate" or left != limit:
                    raise
                # Some servers send raw deflate without the zlib header.
                unpack = zlib.decompressobj(-15)
                piece = unpack.decompress(raw, left + 1)
        left -= len(piece)
        if left < 0:
            raise _TooLargeError
        yield piece
    if unpack is not None:
        yield unpack.flush()


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Retry-After as seconds or as a date, at least 0 and at most 24 h; None if it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # A number of any length is a wish to wait long, not an overflow.
        return min(timedelta(seconds=min(int(text[:9]), 10**7)), LONGEST_WAIT)
    return _until(text, now)


def fresh_for(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long an answer holds, at least 0 and at most 24 h; None if it does not say.

    max-age goes before Expires (RFC 9111, 5.3); no-cache and no-store ask for nothing to be kept.
    """
    asked = headers.get("Cache-Control", "")
    if re.search(r"\bno-(?:cache|store)\b", asked, re.IGNORECASE):
        return None
    found = MAX_AGE.search(asked)
    if found:
        return min(timedelta(seconds=int(found[1])), LONGEST_WAIT)
    return _until(headers.get("Expires", ""), now)


def _until(text: str, now: datetime) -> timedelta | None:
    """From now to an HTTP date, within 0 and 24 h."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return min(max(when - now, timedelta(0)), LONGEST_WAIT)


def next_check(
    fetched: Fetched,
    errors: int,
    settings: FetchSettings,
    *,
    now: datetime,
    jitter: float,
    own: timedelta | None = None,
) -> datetime:
    """When to ask again. errors: failures in a row with this one. jitter in [0, 1) spreads feeds.
    own: how often the feed itself says that it is made anew.

    A good answer waits the set interval, or longer where the feed or its server says that there
    will be nothing new, up to longest_minutes; a failure doubles the interval each time, a wish to
    be left alone is kept where it is longer, all within 24 h; a feed that is gone is asked once a
    day.
    """
    interval = timedelta(minutes=settings.every_minutes)
    if fetched.status is FetchStatus.GONE:
        wait = LONGEST_WAIT
    elif fetched.status in (FetchStatus.OK, FetchStatus.NOT_MODIFIED):
        asked = max(own or interval, fetched.fresh_for or interval)
        wait = max(interval, min(asked, timedelta(minutes=settings.longest_minutes)))
    else:
        wait = min(interval * 2.0 ** min(max(errors - 1, 0), 10), LONGEST_WAIT)
    if fetched.retry_after is not None:
        wait = max(wait, fetched.retry_after)
    return now + wait * (1.0 + 0.1 * jitter)
