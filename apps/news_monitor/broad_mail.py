"""The mail about many topics at once: which, how far from usual, and the stories behind each."""

from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage

from apps.news_monitor.broad import Told
from apps.news_monitor.broad_html import BROAD_HTML
from apps.news_monitor.chart import chart_png
from apps.news_monitor.evidence import Evidence, StoryLine
from apps.news_monitor.mail import (
    Envelope,
    Picture,
    action_lines,
    counted,
    foot_lines,
    frame_values,
    health_sentence,
    multipart,
    names_of,
    span_words,
    story_values,
    web_link,
)
from apps.news_monitor.mail_html import Cell, Head, render
from apps.news_monitor.telling import SEVERITIES

CHARTS = 3
STORIES_EACH = 2


def broad_subject(told: Told) -> str:
    """Such as "[Critical] Bad news in 5 of 12 topics: Airlines, Banks, Oil and 2 more"."""
    worst = max(told.alerts, key=lambda evidence: SEVERITIES.index(evidence.severity)).severity
    names = names_of([evidence.topic for evidence in told.alerts])
    number = f"{len(told.alerts)} of {told.topics} topics"
    title = f"[{worst.capitalize()}] Bad news in {number}: {names}"
    return f"Reminder: {title}" if told.firing else title


def broad_sentence(told: Told) -> str:
    """What the mail says first."""
    if told.firing:
        return f"Still firing, and not acknowledged by anybody: {names_of(told.firing, shown=10)}."
    return (
        f"Bad news is surging in {len(told.alerts)} of the {told.topics} topics at once; this "
        "one mail stands for all of them."
    )


def compose_broad(told: Told, envelope: Envelope, at: datetime) -> EmailMessage:
    """As an alert's mail; the charts of the first three topics. The same arguments give the same
    bytes."""
    stem = envelope.message_id.strip("<>")
    pictures = [
        Picture(f"chart{n}.{stem}", chart_png(evidence), f"last-28-days-{n}.png")
        for n, evidence in enumerate(told.alerts[:CHARTS], start=1)
    ]
    return multipart(
        broad_subject(told),
        broad_text(told, envelope),
        broad_html(told, envelope, [picture.cid for picture in pictures]),
        pictures,
        envelope,
        at,
    )


def broad_text(told: Told, envelope: Envelope) -> str:
    first = told.alerts[0]
    lines = [broad_sentence(told), "", *alert_lines(told, envelope)]
    lines += ["", f"Data: {health_sentence(first)}", f"Model: {first.model}"]
    lines += ["", f"All evidence: {envelope.dashboard_url}"]
    return "\n".join(lines + foot_lines(envelope)) + "\n"


def alert_lines(told: Told, envelope: Envelope) -> list[str]:
    """Several alerts in the text of a mail: a line of figures each, then the stories of each."""
    width = max(len(evidence.topic) for evidence in told.alerts)
    lines = [
        f"{evidence.topic:<{width}}  {evidence.severity:<8}  {_figures(evidence)}"
        for evidence in told.alerts
    ]
    for n, stories in enumerate(stories_of(told.alerts)):
        lines += ["", f"{told.alerts[n].topic}:"]
        for story in stories:
            lines.append(f"- {story.title} ({names_of(story.publishers) or 'publisher unknown'})")
            if web_link(story.url):
                lines.append(f"  {story.url}")
        lines += action_lines(envelope.about(told.refs[n] if told.refs else None))
    return lines


def broad_html(told: Told, envelope: Envelope, cids: Sequence[str]) -> str:
    first = told.alerts[0]
    values: dict[str, object] = {
        **frame_values(envelope),
        **alert_values(told, envelope, cids),
        "title": broad_subject(told),
        "first": broad_sentence(told),
        "foot": [f"Data: {health_sentence(first)}", f"Model: {first.model}"],
    }
    return render(BROAD_HTML, values)


def alert_values(told: Told, envelope: Envelope, cids: Sequence[str] = ()) -> dict[str, object]:
    """Several alerts in the HTML of a mail: a table of figures, then the stories of each. cids: the
    charts of the first of them."""
    names = ("severity", "negative", "usual", "within", "score")
    return {
        "heads": [Head("", left=True), *(Head(name, left=name == names[0]) for name in names)],
        "rows": [
            (
                Cell(evidence.topic, strong=True),
                Cell(evidence.severity),
                Cell(f"{evidence.negative} of {evidence.stories}", strong=True, bad=True),
                Cell(counted(evidence.expected)),
                Cell(span_words(evidence.window_hours)),
                Cell(f"{evidence.score:.1f}"),
            )
            for evidence in told.alerts
        ],
        "topics": [
            {
                "name": told.alerts[n].topic,
                "cid": cids[n] if n < len(cids) else "",
                "stories": [{**story_values(story), "negative": "", "host": ""} for story in some],
                "links": envelope.about(told.refs[n] if told.refs else None),
            }
            for n, some in enumerate(stories_of(told.alerts))
        ],
    }


def stories_of(alerts: Sequence[Evidence]) -> list[list[StoryLine]]:
    """The first stories of each topic; one that carries several topics stands with the first."""
    seen: set[str] = set()
    found = []
    for evidence in alerts:
        fresh = [line for line in evidence.headlines if line.title not in seen][:STORIES_EACH]
        chosen = fresh or list(evidence.headlines[:1])
        seen.update(line.title for line in chosen)
        found.append(chosen)
    return found


def _figures(evidence: Evidence) -> str:
    return (
        f"{evidence.negative} of {evidence.stories} stories of the last "
        f"{span_words(evidence.window_hours)} negative (usual {counted(evidence.expected)}), "
        f"score {evidence.score:.1f}"
    )
