"""Mails about no one alert: the daily heartbeat, a reader's digest, what a pause missed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage

from sqlalchemy import Connection, select

from apps.news_monitor.broad import Told
from apps.news_monitor.broad_html import BROAD_HTML
from apps.news_monitor.broad_mail import alert_lines, alert_values
from apps.news_monitor.day_report import DayReport, Post
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.links import AlertRef
from apps.news_monitor.mail import (
    Envelope,
    foot_lines,
    frame_values,
    in_words,
    multipart,
    names_of,
)
from apps.news_monitor.mail_html import BLUE, Cell, Head, render
from apps.news_monitor.report_html import REPORT_HTML

DRIFT = (
    "The news has changed, or the model no longer understands it: read some of last week's stories "
    "on the page Stories and correct what is wrong. If much is, train a version with it "
    "(`triptych news corrections export`) and let it run in shadow (`triptych news shadow start`)."
)


@dataclass(frozen=True)
class Collected:
    """Alerts told together afterwards. kind: "digest" or "offline". moments: hours judged late, of
    a pause. alerts: (number, when it ended or None) of each, as it was when the mail fell due."""

    kind: str
    begins: datetime
    ends: datetime
    moments: int
    alerts: tuple[tuple[int, datetime | None], ...]

    def to_json(self) -> str:
        values = {**self.__dict__, "alerts": [list(one) for one in self.alerts]}
        return json.dumps(values, default=datetime.isoformat)

    @classmethod
    def from_json(cls, text: str) -> "Collected":
        raw = json.loads(text)
        for name in ("begins", "ends"):
            raw[name] = datetime.fromisoformat(raw[name])
        raw["alerts"] = tuple(
            (number, None if over is None else datetime.fromisoformat(over))
            for number, over in raw["alerts"]
        )
        return cls(**raw)


def compose_heartbeat(report: DayReport, envelope: Envelope, at: datetime) -> EmailMessage:
    """The same arguments give the same bytes."""
    facts = heartbeat_facts(report)
    width = max(len(name) for name, _ in facts)
    lines = [heartbeat_sentence(report), ""]
    lines += [f"{name:<{width}}  {value}" for name, value in facts]
    lines += ["", *(f"Alert: {line}" for line in report.alerts)] if report.alerts else []
    lines += ["", *(f"Drift: {line}" for line in report.drift), DRIFT] if report.drift else []
    lines += ["", "What was decided, of each topic and hour:"]
    lines += [f"{number:>6}  {said}" for said, number in report.decisions] or ["  nothing"]
    values: dict[str, object] = {
        **frame_values(envelope),
        "accent": BLUE,
        "title": "Heartbeat",
        "first": heartbeat_sentence(report),
        "heads": [Head("", left=True), Head("")],
        "rows": [(Cell(name), Cell(value, strong=True)) for name, value in facts],
        "alerts": report.alerts,
        "drift": [*report.drift, DRIFT] if report.drift else [],
        "decided_heads": [Head("of each topic and hour", left=True), Head("")],
        "decided": [(Cell(said), Cell(f"{number}")) for said, number in report.decisions],
        "foot": [f"Model: {report.model or 'none yet'}"],
    }
    bad = len(report.failing) + len(report.silent) + len(report.drift)
    bad += report.mails.dead + report.calls.dead
    title = f"News monitor: alive, {how_many(len(report.alerts), 'alert')} in 24 hours"
    return multipart(
        title + (f", {how_many(bad, 'thing')} to look at" if bad else ""),
        "\n".join(lines + foot_lines(envelope)) + "\n",
        render(REPORT_HTML, values),
        [],
        envelope,
        at,
    )


def heartbeat_sentence(report: DayReport) -> str:
    return (
        f"The news monitor is alive: in the 24 hours to {in_words(report.ends)} it looked "
        f"{how_many(report.rounds, 'time')}, read {report.stories} stories and judged "
        f"{how_many(report.moments, 'hour')}."
    )


def heartbeat_facts(report: DayReport) -> list[tuple[str, str]]:
    """(what, how much) of each line of the heartbeat."""
    facts = [("Feeds", _feeds(report))]
    if report.thinnest is not None:
        name, share = report.thinnest
        facts.append(("Least coverage", f"{share:.0%} ({name})"))
    facts += [
        ("Stories", f"{report.stories}, {report.copies} copies set aside"),
        ("Hours judged", f"{report.moments}"),
        ("Alerts", f"{len(report.alerts)}"),
        ("Mails", _posted(report.mails)),
    ]
    if report.parts:
        moved = "none moved" if not report.drift else f"{len(report.drift)} moved"
        facts.append(("Labels", f"{how_many(report.parts, 'part')} watched for drift, {moved}"))
    if any((report.calls.sent, report.calls.waiting, report.calls.dead)):
        facts.append(("Webhooks", _posted(report.calls)))
    return facts


def _feeds(report: DayReport) -> str:
    """Who has fallen silent answers all the same, and is named apart."""
    if not report.feeds:
        return "none is read"
    said = f"{report.feeds - len(report.failing)} of {report.feeds} answer"
    if report.failing:
        said += f", no good answer: {names_of(report.failing)}"
    if report.silent:
        said += f"; nothing new, though they answer: {names_of(report.silent)}"
    return said


def compose_collected(
    connection: Connection, content: Collected, envelope: Envelope, at: datetime
) -> EmailMessage:
    """A digest, or the summary after a pause. The same each time, but for an alert that
    becomes more severe meanwhile; what became of it is as when the mail fell due."""
    told, overs = _told(connection, content)
    first = collected_sentence(content)
    notes = _notes(told, overs)
    lines = [first, *notes, ""]
    lines += alert_lines(told, envelope) if told.alerts else []
    lines += ["", f"All evidence: {envelope.dashboard_url}"]
    values: dict[str, object] = {
        **frame_values(envelope),
        **alert_values(told, envelope),
        "title": collected_subject(content),
        "first": first,
        "notes": notes,
        "foot": [],
    }
    if not told.alerts:
        values |= {"accent": BLUE, "rows": []}
    html = render(BROAD_HTML, values)
    text = "\n".join(lines + foot_lines(envelope)) + "\n"
    return multipart(collected_subject(content), text, html, [], envelope, at)


def collected_subject(content: Collected) -> str:
    alerts = how_many(len(content.alerts), "alert")
    if content.kind == "digest":
        return f"News digest: {alerts} since {in_words(content.begins)}"
    return f"News monitor: back after {_pause(content)}, {alerts} meanwhile"


def collected_sentence(content: Collected) -> str:
    alerts = how_many(len(content.alerts), "alert")
    if content.kind == "digest":
        return f"{alerts} since {in_words(content.begins)}."
    return (
        f"The news monitor judged nothing from {in_words(content.begins)} to "
        f"{in_words(content.ends)} ({_pause(content)}). It has now judged the "
        f"{how_many(content.moments, 'hour')} it missed, by what was published then: {alerts}."
    )


def _told(connection: Connection, content: Collected) -> tuple[Told, Sequence[datetime | None]]:
    """The alerts, those that go on first, then the highest score; and when each ended."""
    overs = dict(content.alerts)
    rows = connection.execute(
        select(alert.c.id, alert.c.dedupe_key, alert.c.evidence_json).where(alert.c.id.in_(overs))
    ).all()
    found = [
        (Evidence.from_json(row.evidence_json), AlertRef(row.id, row.dedupe_key[:8]))
        for row in rows
    ]
    found.sort(key=lambda one: (overs[one[1].id] is not None, -one[0].score, one[0].topic))
    told = Told(tuple(e for e, _ in found), len(found), tuple(ref for _, ref in found))
    return told, [overs[ref.id] for ref in told.refs]


def _notes(told: Told, overs: Sequence[datetime | None]) -> list[str]:
    """What became of the alerts, a sentence each."""
    pairs = list(zip(told.alerts, overs, strict=True))
    on = [
        f"{evidence.topic} (since {in_words(evidence.opened_at)})"
        for evidence, over in pairs
        if over is None
    ]
    notes = [f"Still going on: {names_of(on, shown=10)}."] if on else []
    return notes + [
        f"{evidence.topic}: from {in_words(evidence.opened_at)} to {in_words(over)}."
        for evidence, over in pairs
        if over is not None
    ]


def _pause(content: Collected) -> str:
    hours = round((content.ends - content.begins).total_seconds() / 3600)
    return how_many(hours, "hour") if hours < 48 else how_many(round(hours / 24), "day")


def _posted(post: Post) -> str:
    said = f"{post.sent} sent"
    said += f", {post.waiting} waiting" if post.waiting else ""
    return said + (f", {post.dead} given up" if post.dead else "")


def how_many(number: int, what: str) -> str:
    """Such as "1 alert" or "3 alerts"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
