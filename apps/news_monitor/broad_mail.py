"""The mail about many topics at once: which, how far from usual, and the stories behind each."""

from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage

from jinja2 import Environment

from apps.news_monitor.broad import SEVERITIES, Told
from apps.news_monitor.broad_html import BROAD_HTML
from apps.news_monitor.chart import chart_png
from apps.news_monitor.evidence import Evidence, StoryLine
from apps.news_monitor.mail import (
    Envelope,
    Picture,
    counted,
    health_sentence,
    in_words,
    multipart,
    names_of,
    span_words,
    web_link,
)

CHARTS = 3
STORIES_EACH = 2


def broad_subject(told: Told) -> str:
    """Such as "[Critical] Bad news in 5 of 12 topics: Airlines, Banks, Oil and 2 more"."""
    worst = max(told.alerts, key=lambda evidence: SEVERITIES.index(evidence.severity)).severity
    names = names_of([evidence.topic for evidence in told.alerts])
    return f"[{worst.capitalize()}] Bad news in {len(told.alerts)} of {told.topics} topics: {names}"


def broad_sentence(told: Told) -> str:
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
    width = max(len(evidence.topic) for evidence in told.alerts)
    lines = [broad_sentence(told), ""]
    for evidence in told.alerts:
        lines.append(f"{evidence.topic:<{width}}  {evidence.severity:<8}  {_figures(evidence)}")
    for evidence, stories in zip(told.alerts, stories_of(told.alerts), strict=True):
        lines += ["", f"{evidence.topic}:"]
        for story in stories:
            lines.append(f"- {story.title} ({names_of(story.publishers) or 'publisher unknown'})")
            if web_link(story.url):
                lines.append(f"  {story.url}")
    first = told.alerts[0]
    lines += ["", f"Data: {health_sentence(first)}", f"Model: {first.model}"]
    lines += ["", f"All evidence: {envelope.dashboard_url}"]
    lines += ["", "-- ", f"Sent to {envelope.recipient} by the Triptych news monitor."]
    return "\n".join(lines) + "\n"


def broad_html(told: Told, envelope: Envelope, cids: Sequence[str]) -> str:
    stories = stories_of(told.alerts)
    topics = [
        {
            "name": evidence.topic,
            "severity": evidence.severity,
            "negative": f"{evidence.negative} of {evidence.stories}",
            "usual": counted(evidence.expected),
            "span": span_words(evidence.window_hours),
            "score": f"{evidence.score:.1f}",
            "cid": cids[n] if n < len(cids) else "",
            "stories": [
                {
                    "title": story.title,
                    "url": web_link(story.url),
                    "who": names_of(story.publishers) or "publisher unknown",
                    "when": in_words(story.at),
                }
                for story in stories[n]
            ],
        }
        for n, evidence in enumerate(told.alerts)
    ]
    first = told.alerts[0]
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        BROAD_HTML
    )
    return template.render(
        subject=broad_subject(told),
        first=broad_sentence(told),
        topics=topics,
        health=health_sentence(first),
        model=first.model,
        dashboard=web_link(envelope.dashboard_url),
        recipient=envelope.recipient,
    )


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
