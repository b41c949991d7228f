"""At most so many wrong answers: what a chosen risk costs, and whether customers see it kept.

The promise follows from the conformal set (decision.py): it leaves out what is meant for at most
`risk` of the messages in scope, and only then can a single intent that remains be a wrong one. The
choices of a question back are not under it: of a larger set the likeliest few are offered, and
"none of these" beside them. What a risk costs is counted on held-out questions; what came true is
counted from thumbs and choices.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from apps.chatbot.held_rows import NOT_KEPT, HeldRows
from apps.chatbot.live import LARGEST_RISK, LiveFile
from apps.chatbot.outcomes_seen import Seen, outcomes_seen
from shared.errors import DataError
from shared.evaluation.audit import wilson
from shared.evaluation.report import Measure
from shared.registry import ModelVersion

GRID = (
    0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3,
)  # fmt: skip
# Feedback older than this says little about the bot as it is.
LONGEST_LOOK_BACK = timedelta(days=90)


@dataclass(frozen=True)
class RiskPoint:
    """What becomes of n in-scope questions at a risk: numbers of them that are answered, asked
    back, refused and handed over, which add up to n. wrong: answered with another intent; missed:
    asked back without the one that was meant."""

    risk: float
    n: int
    answered: int
    asked_back: int
    refused: int
    handed_over: int
    wrong: int
    missed: int

    @property
    def measures(self) -> tuple[Measure, ...]:
        """Shares of the questions with 95 % intervals; the last two of those answered and of those
        asked back."""
        right = self.answered - self.wrong
        shares = [
            share(name, count, self.n)
            for name, count in (
                ("answered", self.answered), ("asked back", self.asked_back),
                ("refused", self.refused), ("handed over", self.handed_over),
                ("wrong answers", self.wrong),
            )
        ]  # fmt: skip
        return (
            *shares,
            share("right when answered", right, self.answered),
            share("choices without it", self.missed, self.asked_back),
        )


@dataclass(frozen=True)
class LiveRisk:
    """How the promise fared with customers since `since`. seen: what they said; wrong: thumbs down
    on answers, of all messages that were judged by a thumb or a choice; unmet: none of these, of
    all choices. Both with their intervals."""

    since: datetime
    risk: float
    seen: Seen

    @property
    def wrong(self) -> Measure:
        return share("wrong answers", self.seen.down, self.seen.known)

    @property
    def unmet(self) -> Measure:
        seen = self.seen
        return share("choices without it", seen.none_of_these, seen.chosen + seen.none_of_these)

    @property
    def verdict(self) -> str:
        """In words: kept, broken, or not yet known."""
        found = self.wrong
        if found.value is None or found.low is None or found.high is None:
            return "not known yet: nobody has said anything"
        if found.low > self.risk:
            return "broken: more than promised, and chance does not explain it"
        if found.high <= self.risk:
            return "kept, and not by chance"
        return "kept so far" if found.value <= self.risk else "above it so far; chance explains it"


@dataclass(frozen=True)
class RiskView:
    """All that there is to say of a model's risk. now: the risk that the running bot takes;
    trained: that of training; curve: at each risk of a grid, at now, and at the one asked about."""

    model: str
    now: float
    trained: float
    least: float
    chosen_at: datetime | None
    chosen_by: str
    curve: tuple[RiskPoint, ...]
    live: LiveRisk | None

    def at(self, risk: float) -> RiskPoint:
        return next(point for point in self.curve if point.risk == risk)

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        found["curve"] = [asdict(p) | _measured(p.measures) for p in self.curve]
        if self.live is not None:
            found["live"] |= {
                "wrong": asdict(self.live.wrong),
                "unmet": asdict(self.live.unmet),
                "known": self.live.seen.known,
                "verdict": self.live.verdict,
            }
        return found


def risk_view(
    version: ModelVersion,
    connection: Connection | None,
    *,
    now: datetime,
    asked: Sequence[float] = (),
) -> RiskView:
    """The curve of a version, and how its promise fared. connection: none leaves the latter out.

    Raises:
        DataError: the version keeps no held-out rankings, or a risk is out of range.
        ModelError: a damaged file.
    """
    held = HeldRows.load(version.path)
    if held is None:
        raise DataError(f"{version.reference} {NOT_KEPT}")
    live = LiveFile.of(version).read()
    present = held.risk if live.risk is None else live.risk
    for risk in asked:
        check_risk(risk)
    last = live.risks[-1] if live.risks else None
    seen = None
    if connection is not None:
        # Before it was chosen the bot made another promise.
        since = max(now - LONGEST_LOOK_BACK, last.at if last else version.created_at)
        told = outcomes_seen(connection, since, now, model=version.reference)
        seen = LiveRisk(since, present, told)
    return RiskView(
        version.reference,
        present,
        held.risk,
        held.least_risk,
        None if last is None else last.at,
        "" if last is None else last.by,
        tuple(risk_at(held, each) for each in sorted({*GRID, present, *asked})),
        seen,
    )


def check_risk(risk: float) -> None:
    if not 0 < risk < LARGEST_RISK:
        raise DataError(f"risk {risk}: expected more than 0 and less than {LARGEST_RISK}")


def risk_at(held: HeldRows, risk: float) -> RiskPoint:
    """The held-out questions counted by what would be done with them."""
    counts: Counter[str] = Counter()
    for row, decided in zip(held.rows, held.decided(risk), strict=True):
        counts[decided.decision] += 1
        if decided.decision in ("answer", "clarify") and row.truth not in decided.labels:
            counts[f"{decided.decision} without it"] += 1
    return RiskPoint(
        risk, len(held.rows), counts["answer"], counts["clarify"], counts["reject"],
        counts["handover"], counts["answer without it"], counts["clarify without it"],
    )  # fmt: skip


def share(name: str, count: int, of: int) -> Measure:
    """A share with Wilson's 95 % interval; of none it is not measured."""
    if not of:
        return Measure(name, None, None, None, 0)
    found = wilson(count, of)
    return Measure(name, found.value, found.low, found.high, of)


def _measured(measures: Sequence[Measure]) -> dict[str, Any]:
    return {"measures": [asdict(measure) for measure in measures]}
