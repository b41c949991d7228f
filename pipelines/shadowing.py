"""`triptych news shadow`: a candidate beside the released model, and what it would change."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from apps.news_monitor.alert_difference import Difference, difference
from apps.news_monitor.alert_difference import difference_lines as alert_lines
from apps.news_monitor.laboratory import try_out
from apps.news_monitor.shadow import Wanted, start, stop
from apps.news_monitor.shadow_difference import LabelDifference
from apps.news_monitor.shadow_view import (
    ShadowView,
    difference_lines,
    difference_of,
    shadow_view,
    view_lines,
)
from pipelines.monitoring import judged, judged_url, monitor_tables, news_settings
from shared.errors import DataError
from shared.registry import Registry
from shared.settings import Home


def start_shadow(home: Home, reference: str, clock: Callable[[], datetime]) -> str:
    """Have the monitor run a released version in shadow; returns it as NAME@VERSION.

    Raises: ModelError: no such version, or a damaged one. DataError: it is what the monitor labels
    with anyway.
    """
    registry = Registry(home.models, clock)
    candidate = registry.resolve(reference, app="news").reference
    released = registry.resolve(news_settings().model, app="news").reference
    if candidate == released:
        raise DataError(
            f"{candidate} is what the monitor labels with; name another version, such as "
            f"{candidate.partition('@')[0]}@latest (`triptych models list` shows them)"
        )
    with monitor_tables(home) as connection:
        start(connection, candidate, clock())
    return candidate


def stop_shadow(home: Home) -> Wanted:
    """Raises DataError where none runs."""
    with monitor_tables(home) as connection:
        found = stop(connection)
    if found is None:
        raise DataError("no model runs in shadow")
    return found


@dataclass(frozen=True)
class ShadowReport:
    """labels: None while there are none of both. alerts: of the released model (A) and the
    candidate (B), None where they were not asked for or cannot be compared yet."""

    view: ShadowView
    labels: LabelDifference | None
    alerts: Difference | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        view, labels = self.view, self.labels
        found = {
            "wanted": view.wanted and asdict(view.wanted),
            "progress": view.progress and asdict(view.progress),
            "released": view.judging and view.judging.model,
            "whole_since": view.since,
            "labels": labels and {**asdict(labels), "sentiments": _pairs(labels)},
            "alerts": self.alerts and asdict(self.alerts),
        }
        plain: dict[str, Any] = json.loads(json.dumps(found, default=datetime.isoformat))
        return plain


def _pairs(labels: LabelDifference) -> list[tuple[str, str, int]]:
    return [(ours, theirs, number) for (ours, theirs), number in labels.sentiments.items()]


def shadow_report(home: Home, *, alerts: bool) -> ShadowReport:
    """Where the shadow stands. alerts: judge the period that both can judge under either.

    Raises DataError where nothing is stored.
    """
    settings = news_settings()
    with judged(home, None) as connection:
        view = shadow_view(connection, settings)
        labels = difference_of(connection, view)
    if not alerts or view.span is None or view.released is None or view.candidate is None:
        return ShadowReport(view, labels, None)
    url, (since, until) = judged_url(home, None), view.span
    first, second = (
        try_out(url, settings, model, since=since, until=until, companies=view.companies)
        for model in (view.released, view.candidate)
    )
    return ShadowReport(view, labels, difference(first.alerts, second.alerts))


def report_lines(report: ShadowReport, *, alerts: bool) -> Iterator[str]:
    """For a terminal."""
    view = report.view
    yield from view_lines(view)
    if report.labels is None or view.judging is None or view.candidate is None:
        return
    names = view.judging.model, view.candidate.name
    yield from difference_lines(report.labels, names)
    if report.alerts is not None and view.span is not None:
        since, until = view.span
        yield f"alerts of {since:%Y-%m-%d} to {until:%Y-%m-%d}, each model by its own past:"
        yield from alert_lines(report.alerts, names)
    elif alerts:
        yield "alerts cannot be compared before the candidate's past is long enough"
