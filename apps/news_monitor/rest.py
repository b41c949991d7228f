"""The pages behind the links in mails: GET shows what would happen, POST does it.

Mail scanners and previews open every link of a mail, so that opening one may change nothing. The
signature in the link is all that is asked for: no token of the service, no cookie, no login.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection, select

from apps.news_monitor.answer_html import Choice, answer_page
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.links import (
    NO_ALERT,
    Action,
    AlertRef,
    Asked,
    LinkError,
    Links,
    Reader,
    read_token,
)
from apps.news_monitor.mail import first_sentence
from apps.news_monitor.responses import (
    LONGEST_SILENCE,
    acknowledge,
    answers_to,
    mark_alert,
    silence_topic,
    write_to,
)
from apps.news_monitor.tables import MIGRATIONS, VERSION_TABLE
from apps.news_monitor.telling_tables import recipient
from shared.errors import DataError, TriptychError
from shared.storage import create_engine, upgrade

LONGEST_BODY = 2000
SILENCE_HOURS = (1, 4, 24, 72, 168)
USUAL_SILENCE = 24
HEADERS = {
    "Cache-Control": "no-store",
    # The address of these pages is the key to them: it is given to nobody.
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
QUESTIONS = {
    Action.ACKNOWLEDGE: ("Acknowledge this alert?", "Acknowledge"),
    Action.SILENCE: ("Silence alerts about {topic}?", "Silence"),
    Action.USEFUL: ("Was this alert worth its mail?", "Yes, useful"),
    Action.NOT_USEFUL: ("Was this alert not worth its mail?", "Not useful"),
    Action.UNSUBSCRIBE: ("End all mails of the news monitor to {email}?", "Unsubscribe"),
    Action.SUBSCRIBE: ("Get mails of the news monitor at {email} again?", "Subscribe"),
}


@dataclass(frozen=True)
class _Request:
    """What a genuine link asks. evidence: None where it is about no alert."""

    action: Action
    alert: AlertRef
    reader: Reader
    evidence: Evidence | None


def answer_site(
    database: str, links: Links, clock: Callable[[], datetime], dashboard_url: str
) -> FastAPI:
    """The site of the links over the monitor's database (its URL); mounted at links.PATH, it is
    reached without the service's token.

    Raises ServiceError for a database that is not reached.
    """
    writing, reading = create_engine(database), create_engine(database, read_only=True)
    upgrade(writing, MIGRATIONS, VERSION_TABLE)
    site = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    def page(status: int, **values: object) -> HTMLResponse:
        text = answer_page(dashboard=dashboard_url, **values)  # type: ignore[arg-type]
        return HTMLResponse(text, status_code=status, headers=HEADERS)

    @site.exception_handler(TriptychError)
    def refused(_request: Request, error: TriptychError) -> HTMLResponse:
        status = (
            403 if isinstance(error, LinkError) else 422 if isinstance(error, DataError) else 503
        )
        return page(status, title="This did not work", lines=[str(error)])

    @site.get("/{token}")
    def ask(token: str) -> HTMLResponse:
        """What the link would do, with a button that does it. Changes nothing."""
        with reading.begin() as connection:
            wish = _genuine(connection, links, read_token(token), clock())
            answered = _answered(connection, wish)
        question, button = QUESTIONS[wish.action]
        title = question.format(
            topic=wish.evidence.topic if wish.evidence else "", email=wish.reader.email
        )
        about = [first_sentence(wish.evidence)] if wish.evidence else []
        hours = (
            [Choice(str(h), _span(h), h == USUAL_SILENCE) for h in SILENCE_HOURS]
            if wish.action is Action.SILENCE
            else []
        )
        return page(200, title=title, lines=about + answered, button=button, hours=hours)

    @site.post("/{token}")
    def act(token: str, body: Annotated[bytes, Depends(_body)]) -> HTMLResponse:
        """Do what the link says. A mail program's one-click unsubscription comes here too."""
        now = clock()
        with writing.begin() as connection:
            wish = _genuine(connection, links, read_token(token), now)
            done = _done(connection, wish, body, now)
        undo = ""
        if wish.action is Action.UNSUBSCRIBE:
            undo = links.token(Action.SUBSCRIBE, NO_ALERT, wish.reader, now)
        return page(200, title="Done", lines=[done], undo=undo)

    return site


async def _body(request: Request) -> bytes:
    """The body, which no form of ours makes long."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST_BODY:
            raise HTTPException(413, f"a body of more than {LONGEST_BODY} bytes")
    return body


def _genuine(connection: Connection, links: Links, asked: Asked, now: datetime) -> _Request:
    """Raises LinkError unless the link was made here and still holds."""
    email = connection.execute(
        select(recipient.c.email).where(recipient.c.id == asked.recipient_id)
    ).scalar_one_or_none()
    row = connection.execute(
        select(alert.c.dedupe_key, alert.c.evidence_json).where(alert.c.id == asked.alert_id)
    ).one_or_none()
    reader = Reader(asked.recipient_id, email or "")
    ref = NO_ALERT if row is None else AlertRef(asked.alert_id, row.dedupe_key[:8])
    links.check(asked, ref, reader, now)
    evidence = None if row is None else Evidence.from_json(row.evidence_json)
    return _Request(asked.action, ref, reader, evidence)


def _answered(connection: Connection, wish: _Request) -> list[str]:
    return answers_to(connection, [wish.alert.id])[wish.alert.id].said if wish.evidence else []


def _done(connection: Connection, wish: _Request, body: bytes, now: datetime) -> str:
    by, number = wish.reader.email, wish.alert.id
    match wish.action:
        case Action.ACKNOWLEDGE:
            return acknowledge(connection, number, by, now)
        case Action.SILENCE:
            return silence_topic(connection, number, _hours(body), by, now)
        case Action.USEFUL | Action.NOT_USEFUL:
            return mark_alert(connection, number, wish.action is Action.USEFUL, by, now)
        case Action.UNSUBSCRIBE | Action.SUBSCRIBE:
            return write_to(connection, wish.reader.id, wish.action is Action.SUBSCRIBE)


def _hours(body: bytes) -> int:
    """Of the form's field; the usual time where it has none."""
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=10)
    text = fields.get("hours", [str(USUAL_SILENCE)])[0]
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        raise DataError(f"hours = {text[:20]!r}, expected a number from 1 to {LONGEST_SILENCE}")
    return int(text)


def _span(hours: int) -> str:
    if hours < 24:
        return f"{hours} hour" + ("s" if hours > 1 else "")
    return f"{hours // 24} day" + ("s" if hours > 24 else "")
