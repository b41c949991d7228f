"""The alert mail: what happened in one sentence, then the figures, the chart, the stories."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import cast
from urllib.parse import urlsplit

from jinja2 import Environment

from apps.news_monitor.alert_html import ALERT_HTML
from apps.news_monitor.chart import chart_png
from apps.news_monitor.evidence import Evidence

TOP_STORIES = 5


@dataclass(frozen=True)
class Envelope:
    """Who a mail is from and to, and what it is known by. message_id: with its angle brackets,
    the same at every attempt. thread_id: of the alert, so that mails about it stand together."""

    sender: str
    recipient: str
    message_id: str
    thread_id: str
    dashboard_url: str


@dataclass(frozen=True)
class Picture:
    """An inline image, which the HTML names by its content id."""

    cid: str
    png: bytes
    filename: str


def subject(evidence: Evidence) -> str:
    """Such as "[High] Airlines: 14 of 30 stories negative (usual 4)"."""
    return (
        f"[{evidence.severity.capitalize()}] {_line(evidence.topic)}: {evidence.negative} of "
        f"{evidence.stories} stories negative (usual {round(evidence.expected)})"
    )


def first_sentence(evidence: Evidence) -> str:
    return (
        f"Bad news about {_line(evidence.topic)} is surging: {evidence.negative} of the "
        f"{evidence.stories} stories of the last {span_words(evidence.window_hours)} are negative, "
        f"where about {counted(evidence.expected)} would be usual."
    )


def chance_sentence(evidence: Evidence) -> str:
    """What the score means, in a reader's terms."""
    weeks = evidence.topic_weeks
    often = f"{weeks:.0f}" if weeks < 1000 else "1,000 or more"
    said = (
        f"Luck alone takes a topic this far about once in {often} weeks "
        f"(score {evidence.score:.1f}, alerts start at {evidence.threshold:.1f})."
    )
    if evidence.learning:
        said += " The monitor is still learning how restless these topics are."
    return said


@dataclass(frozen=True)
class _Row:
    name: str
    now: str
    usual: str
    span: str
    chance: str


def _rows(evidence: Evidence) -> list[_Row]:
    stories = max(evidence.stories, 1)
    return [
        _Row(
            "Negative stories",
            f"{evidence.negative}",
            counted(evidence.expected),
            f"{evidence.low} to {evidence.high}",
            chance_words(evidence.p_count),
        ),
        _Row(
            "Negative share",
            f"{evidence.share:.0%}",
            f"{evidence.usual_share:.0%}",
            f"{evidence.low / stories:.0%} to {evidence.high / stories:.0%}",
            chance_words(evidence.p_share),
        ),
        _Row(
            "All stories",
            f"{evidence.stories}",
            counted(evidence.usual_stories),
            "",
            chance_words(evidence.p_volume),
        ),
    ]


def chance_words(p: float) -> str:
    """A p-value as "1 in 40", to two figures; "usual" from one in four."""
    if p >= 0.25:
        return "usual"
    return f"1 in {float(f'{1 / p:.2g}'):,.0f}" if p > 1e-6 else "below 1 in 1,000,000"


def compose(evidence: Evidence, envelope: Envelope, at: datetime) -> EmailMessage:
    """multipart/alternative of text and HTML with its picture; readable with pictures off.

    The same arguments give the same bytes, so that a repeated attempt repeats the mail.
    """
    cid = "chart." + envelope.message_id.strip("<>")
    return multipart(
        subject(evidence),
        text_body(evidence, envelope),
        html_body(evidence, envelope, cid),
        [Picture(cid, chart_png(evidence), "last-28-days.png")],
        envelope,
        at,
    )


def multipart(
    title: str,
    text: str,
    html: str,
    pictures: Sequence[Picture],
    envelope: Envelope,
    at: datetime,
) -> EmailMessage:
    """A mail of the monitor with all its headers."""
    message = EmailMessage(policy=SMTP)
    message["From"] = _address(envelope.sender)
    message["To"] = _address(envelope.recipient)
    message["Subject"] = title
    message["Date"] = format_datetime(at)
    message["Message-ID"] = envelope.message_id
    if envelope.thread_id != envelope.message_id:
        message["References"] = envelope.thread_id
        message["In-Reply-To"] = envelope.thread_id
    message["Auto-Submitted"] = "auto-generated"
    domain = sender_domain(envelope.sender)
    message["List-Id"] = f"News alerts <news-alerts.{domain}>"
    bare = parseaddr(envelope.sender)[1]
    message["List-Unsubscribe"] = f"<mailto:{bare}?subject=unsubscribe>"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    html_part = cast(list[EmailMessage], message.get_payload())[1]
    for picture in pictures:
        html_part.add_related(
            picture.png,
            "image",
            "png",
            cid=f"<{picture.cid}>",
            disposition="inline",
            filename=picture.filename,
        )
    _fix_boundaries(message, envelope.message_id)
    return message


def text_body(evidence: Evidence, envelope: Envelope) -> str:
    heading = f"{'':18}{'now':>8}{'usual':>8}   {'usual range':<14}{'chance':<12}"
    lines = [first_sentence(evidence), "", heading.rstrip()]
    for row in _rows(evidence):
        line = f"{row.name:<18}{row.now:>8}{row.usual:>8}   {row.span:<14}{row.chance:<12}"
        lines.append(line.rstrip())
    lines += ["", chance_sentence(evidence), "", "The stories that carry it:"]
    for story in evidence.headlines[:TOP_STORIES]:
        lines += ["", f"- {story.title}", f"  {_who(story.publishers)}, {in_words(story.at)}"]
        if web_link(story.url):
            lines.append(f"  {story.url}")
    if evidence.moving:
        lines += ["", "Moving with it: " + moving_sentence(evidence)]
    lines += ["", f"Data: {health_sentence(evidence)}", f"Model: {evidence.model}"]
    lines += ["", f"All evidence: {envelope.dashboard_url}"]
    lines += ["", "-- ", f"Sent to {envelope.recipient} by the Triptych news monitor."]
    return "\n".join(lines) + "\n"


def html_body(evidence: Evidence, envelope: Envelope, cid: str) -> str:
    stories = [
        {
            "title": story.title,
            "url": web_link(story.url),
            "host": urlsplit(story.url).hostname or "" if web_link(story.url) else "",
            "who": _who(story.publishers),
            "when": in_words(story.at),
            "negative": f"{story.p_negative:.0%}",
        }
        for story in evidence.headlines[:TOP_STORIES]
    ]
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        ALERT_HTML
    )
    return template.render(
        severity=evidence.severity.capitalize(),
        topic=evidence.topic,
        first=first_sentence(evidence),
        rows=_rows(evidence),
        chance=chance_sentence(evidence),
        cid=cid,
        chart_text=f"{evidence.topic}: all and negative stories of the last 28 days",
        stories=stories,
        moving=moving_sentence(evidence),
        health=health_sentence(evidence),
        model=evidence.model,
        opened=in_words(evidence.opened_at),
        dashboard=web_link(envelope.dashboard_url),
        recipient=envelope.recipient,
    )


def moving_sentence(evidence: Evidence) -> str:
    return "; ".join(
        f"{_line(m.topic)} {m.negative} of {m.stories} negative (usual {m.usual_share:.0%})"
        for m in evidence.moving
    )


def health_sentence(evidence: Evidence) -> str:
    """How complete the data behind the alert is."""
    health = evidence.health
    said = f"{health.items} stories in 24 hours, {health.copies} copies set aside"
    if health.sources_total is not None:
        said = f"{health.sources_ok} of {health.sources_total} sources answered; " + said
    if health.missing:
        said += f"; silent: {names_of(health.missing)}"
    if health.coverage is not None and health.coverage < 1:
        said += f"; {health.coverage:.0%} of this topic's usual sources delivered"
    return f"{said}; measured against {evidence.history_days} days of history."


def names_of(names: Sequence[str], shown: int = 3) -> str:
    """Such as "Agency, Courier, Gazette and 2 more", on one line."""
    text = ", ".join(_line(name) for name in names[:shown])
    return f"{text} and {len(names) - shown} more" if len(names) > shown else text


def web_link(url: str) -> str:
    """The address if it may be a link (http or https), else ""."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.hostname else ""


def sender_domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"


def _address(text: str) -> Address:
    name, bare = parseaddr(text)
    return Address(display_name=name, addr_spec=bare)


def _line(text: str) -> str:
    """On one line: a header holds no line break."""
    return " ".join(text.split())


def counted(value: float) -> str:
    """A usual number, which is seldom whole: with its decimal below 2."""
    return f"{value:.0f}" if value >= 2 else f"{value:.1f}"


def span_words(hours: int) -> str:
    """Hours as "24 hours" or "3 days"."""
    return f"{hours} hours" if hours % 24 or hours == 24 else f"{hours // 24} days"


def _who(publishers: tuple[str, ...]) -> str:
    return names_of(publishers) if publishers else "publisher unknown"


def in_words(at: datetime) -> str:
    """Such as "Wed 11 Mar 2026, 14:00 UTC"."""
    return f"{at:%a} {at.day} {at:%b %Y, %H:%M} UTC"


def _fix_boundaries(message: EmailMessage, message_id: str) -> None:
    for number, part in enumerate(message.walk()):
        if part.is_multipart():
            key = hashlib.sha256(f"{message_id} {number}".encode()).hexdigest()[:24]
            part.set_boundary(f"=_{key}")
