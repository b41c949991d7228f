"""Why was there no alert (or why was there one)? Told from what was stored when it was judged."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, inspect, select

from apps.news_monitor.decisions import WORDS, Verdict
from apps.news_monitor.judging_tables import attention, decision, detector_config, evaluation
from apps.news_monitor.mail import chance_words, names_of
from apps.news_monitor.tables import job_run, model_version, topic
from shared.errors import DataError

SPAN = timedelta(hours=24)


@dataclass(frozen=True)
class WindowLine:
    """One window at the moment: its figures, its score, what stopped it and what was wanting."""

    window_hours: int
    stories: int
    negative: int
    usual_share: float
    p_share: float
    p_count: float
    score: float
    gate: str
    wanting: str

    @property
    def share(self) -> float:
        return self.negative / self.stories if self.stories else 0.0


@dataclass(frozen=True)
class Run:
    """Moments in a row with the same outcome: the first and last of them, the best score."""

    first: datetime
    last: datetime
    said: str
    score: float


@dataclass(frozen=True)
class Why:
    """The answer for one topic and moment. at: the moment judged, not later than the one asked for.
    coverage in [0, 1] or None while nothing is usual; runs: the 24 hours up to it, oldest first;
    note: what a reader must know of the moment asked for, "" if nothing."""

    topic: str
    at: datetime
    verdict: str
    said: str
    score: float
    threshold: float
    coverage: float | None
    missing: tuple[str, ...]
    windows: tuple[WindowLine, ...]
    runs: tuple[Run, ...]
    model: str
    note: str


@dataclass(frozen=True)
class HeldBack:
    """A time during which alerts of a topic were held back for want of data."""

    topic: str
    first: datetime
    last: datetime
    coverage: float
    missing: tuple[str, ...]
    score: float


def has_decisions(connection: Connection) -> bool:
    """False for the database of an earlier version that no monitor has brought up to date: the
    newest table is asked for."""
    return inspect(connection).has_table(attention.name)


def judged_topics(connection: Connection) -> list[str]:
    """The topics that have ever been judged, by name."""
    query = select(topic.c.name).where(topic.c.id.in_(select(decision.c.topic_id).distinct()))
    return sorted(connection.execute(query).scalars())


def why(connection: Connection, name: str, at: datetime | None = None) -> Why:
    """What came of a topic at the last moment judged until `at` (None: until now), and why.

    Raises DataError for a topic that is not judged, or a moment before the first one judged.
    """
    if not has_decisions(connection):
        raise DataError(
            "this database was written by an earlier version, which did not keep what it decided; "
            "start the monitor once, or run the replay again"
        )
    names = judged_topics(connection)
    if name not in names:
        known = ", ".join(names) or "none yet"
        raise DataError(f"{name!r} is no topic that is judged; judged are: {known}")
    query = (
        select(decision, detector_config.c.settings_json, detector_config.c.evaluated_until)
        .add_columns(model_version.c.name.label("model"))
        .join(topic, topic.c.id == decision.c.topic_id)
        .join(detector_config, detector_config.c.id == decision.c.config_id)
        .join(model_version, model_version.c.id == detector_config.c.model_id)
        .where(topic.c.name == name)
        .order_by(decision.c.at.desc(), decision.c.config_id.desc())
        .limit(1)
    )
    row = connection.execute(
        query if at is None else query.where(decision.c.at <= at)
    ).one_or_none()
    if row is None:
        first = connection.execute(
            select(func.min(decision.c.at)).join(topic).where(topic.c.name == name)
        ).scalar_one()
        raise DataError(
            f"{name} was first judged at {_when(first)}; nothing is known of {_when(at or first)}"
        )
    settings = json.loads(row.settings_json)
    step = timedelta(hours=settings["cadence_hours"])
    return Why(
        topic=name,
        at=row.at,
        verdict=row.verdict,
        said=WORDS[row.verdict],
        score=row.score,
        threshold=row.threshold,
        coverage=row.coverage,
        missing=tuple(json.loads(row.missing_json)),
        windows=_windows(connection, row, settings["rule"]),
        runs=_runs(connection, row, step),
        model=row.model,
        note=_note(connection, row, at, step),
    )


def _windows(connection: Connection, row: Any, rule: Mapping[str, Any]) -> tuple[WindowLine, ...]:
    found = connection.execute(
        select(evaluation)
        .where(
            evaluation.c.config_id == row.config_id,
            evaluation.c.topic_id == row.topic_id,
            evaluation.c.at == row.at,
        )
        .order_by(evaluation.c.window_hours)
    )
    return tuple(
        WindowLine(
            window_hours=one.window_hours,
            stories=one.stories,
            negative=one.negative,
            usual_share=one.usual_share,
            p_share=one.p_share,
            p_count=one.p_count,
            score=one.score,
            gate=WORDS[one.gate],
            wanting=_wanting(one, rule),
        )
        for one in found
    )


def _wanting(row: Any, rule: Mapping[str, Any]) -> str:
    """What the gate that stopped a window asks for; for an open one, how far the threshold is."""
    match row.gate:
        case "learning":
            return f"{rule['min_history_days']} days of history are asked for"
        case "few_negative":
            return f"{rule['min_negative']} negative stories are asked for"
        case "not_new":
            return (
                f"{rule['newest_negative']} negative stories of the last "
                f"{rule['newest_hours']} hours are asked for"
            )
        case "small_rise":
            share = max(rule["share_ratio"] * row.usual_share, row.usual_share + rule["share_rise"])
            return f"{math.ceil(share * row.stories - 1e-9)} of {row.stories} are asked for"
        case "usual_volume":
            return (
                f"about {row.expected_count:.1f} are usual; a number rarer than "
                f"{chance_words(rule['max_count_chance'] - 1e-9)} is asked for"
            )
        case "few_publishers":
            return f"{rule['min_publishers']} publishers are asked for, fewer where few are read"
    if row.score < row.threshold:
        return f"score {row.score:.1f}, alerts start at {row.threshold:.1f}"
    return ""


def _runs(connection: Connection, row: Any, step: timedelta) -> tuple[Run, ...]:
    """Equal outcomes in a row; a time of which nothing is stored had no score in any window."""
    query = (
        select(decision.c.at, decision.c.verdict, decision.c.score)
        .where(
            decision.c.config_id == row.config_id,
            decision.c.topic_id == row.topic_id,
            decision.c.at > row.at - SPAN,
            decision.c.at <= row.at,
        )
        .order_by(decision.c.at)
    )
    runs: list[Run] = []
    for one in connection.execute(query):
        said = WORDS[one.verdict]
        if runs and one.at - runs[-1].last > step:
            runs.append(Run(runs[-1].last + step, one.at - step, "no score in any window", 0.0))
        if runs and runs[-1].said == said:
            runs[-1] = Run(runs[-1].first, one.at, said, max(runs[-1].score, one.score))
        else:
            runs.append(Run(one.at, one.at, said, one.score))
    return tuple(runs)


def _note(connection: Connection, row: Any, at: datetime | None, step: timedelta) -> str:
    if at is None or at - row.at < step:
        return ""
    if at <= row.evaluated_until:
        return (
            f"No window had a score at {_when(at)}: a replay keeps only moments with one. "
            f"The last kept before it is {_when(row.at)}."
        )
    said = f"Nothing has been judged after {_when(row.evaluated_until)}."
    last = connection.execute(
        select(job_run.c.started_at, job_run.c.report_json)
        .where(job_run.c.job == "tick", job_run.c.started_at <= at)
        .order_by(job_run.c.started_at.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return said
    lines = [line for line in json.loads(last.report_json)["lines"] if "label" in line]
    told = f" It said: {lines[0]}." if lines else ""
    return f"{said} The monitor's last round was at {_when(last.started_at)}.{told}"


def held_back(connection: Connection, since: datetime, limit: int = 50) -> list[HeldBack]:
    """Times since then in which a topic's alerts were held back, the newest first."""
    query = (
        select(decision, topic.c.name)
        .join(topic, topic.c.id == decision.c.topic_id)
        .where(
            decision.c.verdict == Verdict.DATA_HEALTH.value,
            decision.c.at > since,
            # The others are open alerts that were not calmed meanwhile.
            decision.c.score >= decision.c.threshold,
        )
        .order_by(topic.c.name, decision.c.at)
    )
    found: list[HeldBack] = []
    for row in connection.execute(query):
        last = found[-1] if found else None
        missing = tuple(json.loads(row.missing_json))
        if last and last.topic == row.name and row.at - last.last <= SPAN:
            found[-1] = HeldBack(
                last.topic,
                last.first,
                row.at,
                min(last.coverage, row.coverage),
                tuple(dict.fromkeys((*last.missing, *missing))),
                max(last.score, row.score),
            )
        else:
            found.append(HeldBack(row.name, row.at, row.at, row.coverage, missing, row.score))
    return sorted(found, key=lambda one: (one.last, one.topic), reverse=True)[:limit]


def why_lines(answer: Why) -> list[str]:
    """The answer as text: a sentence, a table of the windows, and the day up to the moment."""
    lines = [f"{answer.topic} at {_when(answer.at)}: {answer.said}."]
    if answer.note:
        lines.append(answer.note)
    lines.append(
        f"Best score {answer.score:.1f}, alerts start at {answer.threshold:.1f}. "
        + coverage_sentence(answer.coverage, answer.missing)
    )
    lines += ["", *table_lines(HEADINGS, [_cells(line) for line in answer.windows])]
    if answer.runs:
        lines += ["", "The 24 hours up to then:"]
        lines += [
            f"  {run.first:%m-%d %H:%M} to {run.last:%m-%d %H:%M}  {run.said}"
            + (f" (best score {run.score:.1f})" if run.score > 0 else "")
            for run in answer.runs
        ]
    return [*lines, "", f"Model {answer.model}."]


HEADINGS = ("window", "negative", "share", "usual", "chance", "score", "stopped by", "wanting")


def _cells(line: WindowLine) -> tuple[str, ...]:
    return (
        f"{line.window_hours} h",
        f"{line.negative} of {line.stories}",
        f"{line.share:.0%}",
        f"{line.usual_share:.0%}",
        chance_words(line.p_share),
        f"{line.score:.1f}",
        line.gate,
        line.wanting,
    )


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]


def coverage_sentence(coverage: float | None, missing: Sequence[str]) -> str:
    """How much of the topic's usual sources delivered."""
    if coverage is None:
        return "What its sources usually deliver is not known yet."
    said = f"{coverage:.0%} of its usual sources delivered"
    return f"{said}; silent: {names_of(missing)}." if missing else f"{said}."


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
