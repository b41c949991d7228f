"""A candidate beside production: on somebody's rows, or on held-out rows that both kept."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Protocol

import pandas as pd

from shared.atomic import write_text
from shared.errors import DataError
from shared.evaluation.gate import GateLimits, Latency, Verdict, judge
from shared.evaluation.gate_page import render_verdict
from shared.evaluation.outcomes import (
    Case,
    Change,
    Contest,
    Pair,
    Serve,
    common_rows,
    load_outcomes,
)
from shared.evaluation.race import Race
from shared.registry import ModelVersion
from shared.settings import Home
from shared.tables import write_table

# Rows served one by one to time a model, after a few that warm it up.
TIMED, WARM_UP = 40, 3
# How often a candidate must be found too slow before that blocks it. Another program on the machine
# may slow down the one of two models for a while; a slower model is slower each time.
TIMINGS = 3
PAGE, CHANGES, VERDICT = "comparison.html", "changes.csv", "verdict.json"
# The checks that only loaded versions can be put to.
OF_LOADED = ("must-pass cases", "latency")

Say = Callable[[str], None]


class Comparison(Protocol):
    """What each application's comparison.py gives."""

    def compare(
        self,
        candidate: Path,
        production: Path,
        path: Path,
        mapping: Mapping[str, str],
        home: Home,
        *,
        say: Say,
    ) -> Contest: ...

    def race(self, candidate: Path, production: Path, home: Home) -> Race: ...

    def cases(self, folder: Path, path: Path, home: Home, *, say: Say) -> tuple[Case, ...]: ...


@dataclass(frozen=True)
class Compared:
    """candidate, production: NAME@VERSION. changes: rows whose decision differs; of held-out rows
    nothing is known but scores."""

    candidate: str
    production: str
    verdict: Verdict
    limits: GateLimits
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.candidate} in place of {self.production}"

    def as_dict(self) -> dict[str, object]:
        return {
            "candidate": self.candidate,
            "production": self.production,
            **self.verdict.as_dict(),
            "notes": self.notes,
            "changes": [asdict(change) for change in self.changes],
        }

    def write(self, folder: Path) -> Path:
        """comparison.html, verdict.json and changes.csv in `folder`; the page's path."""
        folder.mkdir(parents=True, exist_ok=True)
        columns = list(Change.__dataclass_fields__)
        rows = pd.DataFrame([asdict(change) for change in self.changes], columns=columns)
        write_table(rows, folder / CHANGES)
        text = json.dumps(self.as_dict(), ensure_ascii=False, indent=2, default=str)
        write_text(folder / VERDICT, text + "\n")
        page = render_verdict(self.title, self.verdict, self.limits, self.changes, self.notes)
        write_text(folder / PAGE, page)
        return folder / PAGE


def comparison_of(app: str) -> Comparison:
    """The application's own comparison; the others' libraries stay unloaded."""
    if app == "chatbot":
        from apps.chatbot import comparison as chatbot

        return chatbot
    if app == "news":
        from apps.news_monitor import comparison as news

        return news
    from apps.recommender import comparison as recommender

    return recommender


def compare_on(
    candidate: ModelVersion,
    production: ModelVersion,
    input_file: Path,
    *,
    must_pass: Path | None,
    mapping: Mapping[str, str],
    limits: GateLimits,
    home: Home,
    say: Say,
) -> Compared:
    """Both on the rows of a file; neither is changed. must_pass: a file of cases beside those that
    the application has of its own.

    Raises: DataError: the file. ModelError: a version that cannot be loaded. ServiceError: the
    database of the application's own cases does not answer.
    """
    app = comparison_of(candidate.app)
    say(f"comparing {candidate.reference} with {production.reference} on {input_file}")
    contest = app.compare(candidate.path, production.path, input_file, mapping, home, say=say)
    cases, about = _cases(candidate, must_pass, home, say)
    verdict = judge(
        contest.pairs(),
        limits,
        cases=cases,
        latency=timed(contest.serve, contest.asked, limits),
    )
    return Compared(
        candidate.reference,
        production.reference,
        verdict,
        limits,
        contest.changes(),
        (f"compared on {input_file.name}", *contest.notes, *about),
    )


def compare_held_out(
    candidate: ModelVersion,
    production: ModelVersion,
    *,
    must_pass: Path | None,
    limits: GateLimits,
    home: Home,
    say: Say,
    load: bool = True,
) -> Compared:
    """Both on the held-out rows that stand in the reports of both, each judged before it learned
    from them; and timed, on held-out texts or users of both. load: whether they may be loaded;
    without it neither must-pass cases nor latency are among the checks. must_pass: as `compare_on`.

    Raises: DataError where these rows are too few to judge by; else as `compare_on`.
    """
    pairs = common_rows(load_outcomes(candidate.path), load_outcomes(production.path))
    if not any(len(pair.production) >= limits.least_rows for pair in pairs):
        raise DataError(
            f"{candidate.reference} and {production.reference} cannot be compared: their reports "
            f"share {max((len(p.production) for p in pairs), default=0)} held-out rows and "
            f"{limits.least_rows} are needed; give labelled rows that neither was trained on with "
            "--input FILE, or --force --reason WHY"
        )
    rows = ", ".join(f"{len(pair.production):,} for {pair.task}" for pair in pairs)
    about: tuple[str, ...] = ()
    if load:
        cases, about = _cases(candidate, must_pass, home, say)
        say(f"timing {candidate.reference} and {production.reference}")
        race = comparison_of(candidate.app).race(candidate.path, production.path, home)
        verdict = judge(pairs, limits, cases=cases, latency=timed(race.serve, race.asked, limits))
    else:
        verdict = judge(pairs, limits)
        checks = tuple(check for check in verdict.checks if check.name not in OF_LOADED)
        verdict = replace(verdict, checks=checks)
    return Compared(
        candidate.reference,
        production.reference,
        verdict,
        limits,
        (),
        (
            f"compared on the held-out rows that both reports have: {rows}",
            *_one_sided(pairs),
            *about,
        ),
    )


def timed(serve: tuple[Serve, Serve], rows: Sequence[str], limits: GateLimits) -> Latency | None:
    """As `latency_of`, measured again while the gate would block the candidate by it, TIMINGS times
    at most; of these the one in which the candidate did best."""
    found: list[Latency] = []
    for _ in range(TIMINGS):
        latency = latency_of(serve, rows)
        if latency is None or not _blocks(latency, limits):
            return latency
        found.append(latency)
    return min(found, key=lambda each: each.candidate / max(each.production, 1e-9))


def _blocks(latency: Latency, limits: GateLimits) -> bool:
    checks = judge((), limits, latency=latency).checks
    return any(check.name == "latency" and check.status == "failed" for check in checks)


def latency_of(serve: tuple[Serve, Serve], rows: Sequence[str]) -> Latency | None:
    """Median milliseconds of candidate and production for one row, in turn on the same rows; fewer
    than TIMED are asked again."""
    if not rows:
        return None
    spread = rows[:: max(1, len(rows) // TIMED)][:TIMED]
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(WARM_UP + TIMED):
        row = spread[number % len(spread)]
        # The one that goes second finds the row's data in the processor's cache: take turns.
        for model in (0, 1) if number % 2 else (1, 0):
            started = time.perf_counter()
            serve[model]([row])
            if number >= WARM_UP:
                seconds[model].append(time.perf_counter() - started)
    return Latency(1000 * median(seconds[0]), 1000 * median(seconds[1]))


def _cases(
    candidate: ModelVersion, must_pass: Path | None, home: Home, say: Say
) -> tuple[tuple[Case, ...] | None, tuple[str, ...]]:
    """The must-pass cases, and what is to be known of them."""
    if candidate.app == "chatbot":
        from apps.chatbot.comparison import cases_with_lessons

        found = cases_with_lessons(candidate.path, candidate.name, must_pass, home)
        return found.cases, found.notes
    if must_pass is None:
        return None, ()
    return comparison_of(candidate.app).cases(candidate.path, must_pass, home, say=say), ()


def _one_sided(pairs: Sequence[Pair]) -> list[str]:
    empty = [pair.task for pair in pairs if not len(pair.production)]
    return [f"no common rows for {', '.join(empty)}"] if empty else []
