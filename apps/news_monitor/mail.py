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

from apps.news_monitor.alert_html import ALERT_HTML
from apps.news_monitor.chart import chart_png
from apps.news_monitor.evidence import Evidence, StoryLine
from apps.news_monitor.links import AlertRef, MailLinks
from apps.news_monitor.mail_html import RED, Cell, Head, render
from apps.news_monitor.occasion import Occasion
from apps.news_monitor.thresholds import Severity

TOP_STORIES = 5
OPENING = Occasion()


@dataclass(frozen=True)
class Envelope:
    """Who a mail is from and to, and what it is known by. message_id: with its angle brackets,
    the same at every attempt. thread_id: of the alert, so that mails about it stand together.
    links: None where mails hold none that act."""

    sender: str
    recipient: str
    message_id: str
    thread_id: str
    dashboard_url: str
    links: MailLinks | None = None

    def about(self, alert: AlertRef | None) -> list[tuple[str, str]]:
        """(label, address) of what can be done about an alert."""
        return [] if self.links is None or alert is None else self.links.about(alert)

    @property
    def unsubscribe(self) -> str:
        """The address that ends these mails, "" where there is none."""
        return "" if self.links is None else self.links.unsubscribe


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


def first_sentence(evidence: Evidence, was: Severity | None = None) -> str:
    """was: the severity from which the alert has risen."""
    does = "is surging" if was is None else f"has risen from {was} to {evidence.severity}"
    return (
        f"Bad news about {_line(evidence.topic)} {does}: {evidence.negative} of the "
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
    """Each row by one null: of as many stories as there are (number and share), of the number of
    negative ones in itself, and of the volume."""
    stories = max(evidence.stories, 1)
    return [
        _Row(
            f"Negative of {evidence.stories}",
            f"{evidence.negative}",
            counted(evidence.expected),
            f"{evidence.low} to {evidence.high}",
            chance_words(evidence.p_share),
        ),
        _Row(
            "Negative share",
            f"{evidence.share:.0%}",
            f"{evidence.usual_share:.0%}",
            f"{evidence.low / stories:.0%} to {evidence.high / stories:.0%}",
            chance_words(evidence.p_share),
        ),
        _Row(
            "Negative stories",
            f"{evidence.negative}",
            counted(evidence.usual_stories * evidence.usual_share),
            "",
            chance_words(evidence.p_count),
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


def occasion_sentence(evidence: Evidence, occasion: Occasion) -> str:
    """What is to be said beside the figures; "" of an alert that has just opened."""
    if occasion.reminder:
        return "It still fires, and nobody has acknowledged it yet."
    opened = f"It opened on {in_words(evidence.opened_at)}"
    figures = f"these figures are of {in_words(evidence.evaluated_at)}."
    if occasion.hushed:
        return f"{opened}, while its topic was silenced, and still fires; {figures}"
    return f"{opened}; {figures}" if occasion.was else ""


def compose(
    evidence: Evidence,
    envelope: Envelope,
    at: datetime,
    alert: AlertRef | None = None,
    occasion: Occasion = OPENING,
) -> EmailMessage:
    """multipart/alternative of text and HTML with its picture; readable with pictures off.

    The same arguments give the same bytes, so that a repeated attempt repeats the mail.
    """
    cid = "chart." + envelope.message_id.strip("<>")
    return multipart(
        occasion.title + subject(evidence),
        text_body(evidence, envelope, alert, occasion),
        html_body(evidence, envelope, cid, alert, occasion),
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
    by_mail = f"<mailto:{bare}?subject=unsubscribe>"
    if envelope.unsubscribe:
        # RFC 8058: the mail program posts to the address, without asking and without a page.
        message["List-Unsubscribe"] = f"<{envelope.unsubscribe}>, {by_mail}"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    else:
        message["List-Unsubscribe"] = by_mail
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


def text_body(
    evidence: Evidence,
    envelope: Envelope,
    alert: AlertRef | None = None,
    occasion: Occasion = OPENING,
) -> str:
    heading = f"{'':18}{'now':>8}{'usual':>8}   {'usual range':<14}{'chance':<12}"
    said = [first_sentence(evidence, occasion.was), occasion_sentence(evidence, occasion)]
    lines = [*filter(None, said), "", heading.rstrip()]
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
    lines += action_lines(envelope.about(alert))
    return "\n".join(lines + foot_lines(envelope)) + "\n"


def action_lines(links: Sequence[tuple[str, str]]) -> list[str]:
    """What can be done about an alert, in the text of a mail."""
    return [f"{label}: {url}" for label, url in links]


def foot_lines(envelope: Envelope) -> list[str]:
    """How the text of every mail ends."""
    lines = ["", "-- ", f"Sent to {envelope.recipient} by the Triptych news monitor."]
    return [*lines, f"Unsubscribe: {envelope.unsubscribe}"] if envelope.unsubscribe else lines


def frame_values(envelope: Envelope) -> dict[str, object]:
    """What the frame of every mail's HTML asks for; the colour is an alert's."""
    return {
        "accent": RED,
        "dashboard": web_link(envelope.dashboard_url),
        "recipient": envelope.recipient,
        "unsubscribe": envelope.unsubscribe,
    }


def story_values(story: StoryLine) -> dict[str, str]:
    """A story as the HTML of a mail shows it."""
    url = web_link(story.url)
    return {
        "title": story.title,
        "url": url,
        "host": urlsplit(url).hostname or "",
        "who": _who(story.publishers),
        "when": in_words(story.at),
        "negative": f"{story.p_negative:.0%}",
    }


def html_body(
    evidence: Evidence,
    envelope: Envelope,
    cid: str,
    alert: AlertRef | None = None,
    occasion: Occasion = OPENING,
) -> str:
    rows = _rows(evidence)
    values: dict[str, object] = {
        **frame_values(envelope),
        "title": evidence.topic,
        "severity": evidence.severity.capitalize(),
        "topic": evidence.topic,
        "opened": in_words(evidence.opened_at),
        "first": first_sentence(evidence, occasion.was),
        "reminder": occasion_sentence(evidence, occasion),
        "heads": [
            Head("", left=True),
            *(Head(name) for name in ("now", "usual", "usual range", "chance")),
        ],
        "rows": [
            (
                Cell(row.name),
                Cell(row.now, strong=True, bad=row is not rows[-1]),
                *(Cell(text) for text in (row.usual, row.span, row.chance)),
            )
            for row in rows
        ],
        "chance": chance_sentence(evidence),
        "links": envelope.about(alert),
        "cid": cid,
        "chart_text": f"{evidence.topic}: all and negative stories of the last 28 days",
        "stories": [story_values(story) for story in evidence.headlines[:TOP_STORIES]],
        "moving": moving_sentence(evidence),
        "foot": [f"Data: {health_sentence(evidence)}", f"Model: {evidence.model}"],
    }
    return render(ALERT_HTML, values)


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
