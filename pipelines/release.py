"""`triptych models promote`: a candidate goes live only through the gate, or by force and on
record."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.compare import Compared, compare_held_out, compare_on
from shared.evaluation.gate import GateLimits
from shared.registry import ModelVersion, Registry
from shared.settings import Home


@dataclass(frozen=True)
class Released:
    """version: the candidate, with whether it is live now. refusal: why it is not, in one line.
    compared: None where it was live before, or went live by force and unjudged."""

    version: ModelVersion
    lines: tuple[str, ...]
    refusal: str = ""
    compared: Compared | None = None

    def as_dict(self) -> dict[str, object]:
        return {
            "model": self.version.reference,
            "production": self.version.production,
            "refusal": self.refusal,
            "comparison": None if self.compared is None else self.compared.as_dict(),
        }


def release(
    registry: Registry,
    name: str,
    version: int,
    *,
    input_file: Path | None,
    must_pass: Path | None,
    mapping: Mapping[str, str],
    limits: GateLimits,
    reason: str,
    force: bool,
    home: Home,
    say: Callable[[str], None],
) -> Released:
    """Judge version `version` of `name` against the live one, and promote it if it passes.

    input_file: labelled rows; None: the held-out rows that both reports have. force: promote
    anyway; the history then says so, with the reason and what the gate said if it was asked.
    Raises:
        DataError: no rows to judge by. ModelError: no such version, or a damaged one.
    """
    candidate = registry.resolve(f"{name}@{version}")
    if candidate.production:
        return Released(candidate, (f"{candidate.reference} is in production already",))
    if force and input_file is None:
        live = registry.promote(name, version, reason=f"forced: {reason}")
        return Released(live, (f"{live.reference} is in production, unjudged: {reason}",))
    production = registry.resolve(name)
    cases = must_pass or limits.must_pass.get(name)
    if input_file is None:
        done = compare_held_out(
            candidate, production, must_pass=cases, limits=limits, home=home, say=say
        )
    else:
        done = compare_on(
            candidate, production, input_file,
            must_pass=cases, mapping=mapping, limits=limits, home=home, say=say,
        )  # fmt: skip
    page = done.write(home.reports / f"promotion-{name}-{version}")
    lines = (*done.notes, *done.verdict.lines)
    if not done.verdict.passed and not force:
        refusal = (
            f"{candidate.reference} stays out: {_why(done)}; see {page}, or promote it with "
            "--force --reason WHY"
        )
        return Released(candidate, lines, refusal, done)
    live = registry.promote(name, version, reason=_recorded(done, reason))
    told = f"{live.reference} is in production, in place of {production.reference}"
    return Released(live, (*lines, told, f"Report: {page}"), compared=done)


def _why(done: Compared) -> str:
    return "; ".join(f"{check.name} ({check.status})" for check in done.verdict.blocking)


def _recorded(done: Compared, reason: str) -> str:
    if done.verdict.passed:
        return f"{reason}; passed the gate" if reason else "passed the gate"
    return f"forced: {reason}; the gate blocked it: {_why(done)}"
