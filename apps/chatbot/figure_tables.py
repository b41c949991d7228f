"""The bot's figures as tables, for charts and for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from apps.chatbot.analytics import IntentUse, Period, Unanswered
from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.spans import slot_of
from apps.chatbot.intent_figures import IntentFigures
from apps.chatbot.risk import RiskView
from apps.chatbot.unanswered import Clusters
from shared.evaluation.report import Measure

OTHERS = "all others"
OUTCOMES = ("answered", "asked back", "refused", "handed over")


def curve_points(view: RiskView) -> pd.DataFrame:
    """risk, what, share: of all held-out questions at each risk; those that are refused or handed
    over, which both end without an answer, are told apart."""
    rows = [
        (point.risk, measure.name, measure.value)
        for point in view.curve
        for measure in point.measures
        if measure.name in (*OUTCOMES, "wrong answers")
    ]
    return pd.DataFrame(rows, columns=["risk", "what", "share"])


def curve_table(view: RiskView) -> pd.DataFrame:
    """One row a risk, shares with their intervals in words."""
    rows = [
        {"risk": f"{point.risk:.1%}", **{m.name: in_words(m) for m in point.measures}}
        for point in view.curve
    ]
    return pd.DataFrame(rows)


def in_words(measure: Measure) -> str:
    """A share with its interval, "" where it was not measured."""
    if measure.value is None:
        return ""
    if measure.low is None or measure.high is None:
        return f"{measure.value:.1%}"
    return f"{measure.value:.1%} ({measure.low:.1%}–{measure.high:.1%})"


def entities_table(entities: Entities) -> pd.DataFrame:
    """One row an entity; of learned ones how they fared on unseen examples."""
    learned = {} if entities.tagger is None else {(f.entity, f.role): f
                                                  for f in entities.tagger.figures}  # fmt: skip
    lists = entities.lists
    rows = []
    for name, role in dict.fromkeys((*((each, "") for each in lists.names), *learned)):
        figures = learned.get((name, role))
        rows.append(
            {
                "entity": f"{name} ({role})" if role else name,
                "slot": slot_of(role or name),
                "values": len(lists.kinds.get("lookups", {}).get(name, ())),
                "patterns": len(lists.kinds.get("regexes", {}).get(name, ())),
                "marked": figures.annotated if figures else 0,
                "would be found": figures.found if figures else 0,
                "of these wrong": figures.found - figures.right if figures else 0,
            }
        )
    return pd.DataFrame(rows)


def intents_table(found: Sequence[IntentFigures]) -> pd.DataFrame:
    """One row an intent."""
    rows = [
        {
            "intent": each.label,
            "title": each.title,
            "examples": each.examples,
            "recall": each.recall.value,
            "recall, 95 %": _interval(each.recall),
            "precision": each.precision.value,
            "precision, 95 %": _interval(each.precision),
            "taken for": ", ".join(f"{c.other} ({c.count})" for c in each.confused),
            "used in 30 days": each.used,
            "answer": _answer(each),
        }
        for each in found
    ]
    return pd.DataFrame(rows)


def _interval(measure: Measure) -> str:
    if measure.low is None or measure.high is None:
        return ""
    return f"{measure.low:.0%}–{measure.high:.0%} of {measure.n}"


def _answer(each: IntentFigures) -> str:
    if each.answer is None:
        return "none"
    if each.edited:
        return "edited"
    return "as trained" if each.learned else "found by its text"


def period_rows(periods: Sequence[Period]) -> list[dict[str, Any]]:
    """One row a period: the counts, and each share with its interval, None where it has none."""
    rows = []
    for period in periods:
        row: dict[str, Any] = {"start": period.start.isoformat(), **asdict(period.counts)}
        for measure in period.counts.measures:
            name = measure.name.replace(" ", "_")
            row |= {name: measure.value, f"{name}_low": measure.low, f"{name}_high": measure.high}
        rows.append(row)
    return rows


def period_table(periods: Sequence[Period]) -> pd.DataFrame:
    """`period_rows` as a table."""
    return pd.DataFrame(period_rows(periods))


def share_points(periods: Sequence[Period], names: Sequence[str]) -> pd.DataFrame:
    """start, what, share, low, high, n: of these measures, where they have a value."""
    rows = [
        (pd.Timestamp(period.start), m.name, m.value, m.low, m.high, m.n)
        for period in periods
        for m in period.counts.measures
        if m.name in names and m.value is not None
    ]
    return pd.DataFrame(rows, columns=["start", "what", "share", "low", "high", "n"])


def session_points(periods: Sequence[Period]) -> pd.DataFrame:
    """start, how, sessions: how sessions ended."""
    rows = [
        (pd.Timestamp(period.start), how, count)
        for period in periods
        for how, count in (
            ("contained", period.counts.contained),
            ("handed over", period.counts.handed_over),
            ("left", period.counts.left),
        )
    ]
    return pd.DataFrame(rows, columns=["start", "how", "sessions"])


def use_table(found: Sequence[IntentUse]) -> pd.DataFrame:
    """Sessions of each intent and how they ended."""
    rows = [
        {
            "intent": each.intent,
            "sessions": each.sessions,
            "contained": each.containment.value,
            "95 %": _interval(each.containment),
            "handed over": each.handed_over,
            "thumbs up": each.thumbs_up,
            "thumbs down": each.thumbs_down,
        }
        for each in found
    ]
    return pd.DataFrame(rows)


def unanswered_table(found: Sequence[Unanswered]) -> pd.DataFrame:
    """What was refused last."""
    rows = [(each.at, each.question, each.taken_for, each.probability) for each in found]
    return pd.DataFrame(rows, columns=["at", "question", "taken for", "probability"])


def cluster_points(found: Clusters, most: int) -> pd.DataFrame:
    """week, asks, questions: of the clusters that are asked most, and of all others together."""
    rows = [
        (week.isoformat(), each.title, count)
        for each in found.clusters[:most]
        for week, count in zip(found.weeks, each.weeks, strict=True)
    ]
    others = [each.weeks for each in found.clusters[most:]]
    if others:
        sums = (sum(counts) for counts in zip(*others, strict=True))
        rows += [
            (week.isoformat(), OTHERS, count) for week, count in zip(found.weeks, sums, strict=True)
        ]
    return pd.DataFrame(rows, columns=["week", "asks", "questions"])


def cluster_table(found: Clusters) -> pd.DataFrame:
    """One row a cluster; week by week: its counts, from the first week on."""
    several = len({each.bot for each in found.clusters}) > 1
    rows = [
        {
            "asks": each.title,
            "intent": f"{each.bot}: {each.name}" if several else each.name,
            "questions": each.questions,
            "this week": each.weeks[-1],
            "week by week": list(each.weeks),
            "of the handovers": each.share.value,
            "review": f"{each.waiting} wait" if each.waiting else "taught",
            "for example": each.example,
            "share, 95 %": _interval(each.share),
        }
        for each in found.clusters
    ]
    return pd.DataFrame(rows)


def reason_table(found: Mapping[str, int]) -> pd.DataFrame:
    """Why chats were handed over."""
    return pd.DataFrame(list(found.items()), columns=["handed over because", "chats"])
