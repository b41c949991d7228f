"""All checks over a bot's data, and the refusal of training on errors."""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from apps.chatbot.doctor.answer_checks import coverage, lint_answers
from apps.chatbot.doctor.condition_checks import lint_conditions
from apps.chatbot.doctor.entity_checks import lint_entities, slot_values
from apps.chatbot.doctor.findings import Finding, numbered
from apps.chatbot.doctor.learned_checks import Judged, overlaps, wrong_labels
from apps.chatbot.doctor.reading import BotData, Sources
from apps.chatbot.doctor.row_checks import (
    contradictions,
    leaks,
    misspelt_labels,
    near_contradictions,
    rejected_rows,
    repeats,
    thin_intents,
)
from shared.errors import DataError


@dataclass(frozen=True)
class Examination:
    """findings: errors first. examples, intents, answers: how much was looked at. notes: what could
    not be looked at, and why."""

    findings: tuple[Finding, ...]
    examples: int
    intents: int
    answers: int
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.severity == "error")

    @property
    def words(self) -> str:
        """The outcome in one line."""
        looked = f"{self.examples:,} examples of {self.intents:,} intents"
        looked += f", {self.answers:,} answers" if self.answers else ""
        errors = len(self.errors)
        warnings = len(self.findings) - errors
        told = f"{_many(errors, 'error')}, {_many(warnings, 'warning')}"
        return f"{looked}: {told}" + ("; training refuses these errors" if errors else "")

    def as_dict(self) -> dict[str, Any]:
        return {
            "words": self.words,
            "examples": self.examples,
            "intents": self.intents,
            "answers": self.answers,
            "errors": len(self.errors),
            "warnings": len(self.findings) - len(self.errors),
            "kinds": dict(Counter(each.kind for each in self.findings)),
            "findings": [each.as_dict() for each in self.findings],
            "notes": list(self.notes),
        }


def examine(
    data: BotData,
    judge: Callable[[BotData], Judged] | None = None,
    *,
    always_open: bool = False,
) -> Examination:
    """Every check. judge: how a model's out-of-fold probabilities come about; None leaves out what
    needs them. always_open: no opening hours are set."""
    judged, notes = None, []
    if judge is not None:
        try:
            judged = judge(data)
        except DataError as error:
            notes.append(f"Labels and overlaps were not judged by a model: {error}")
    torn, concerned = contradictions(data, None if judged is None else judged.likeliest())
    misspelt = list(misspelt_labels(data))
    found = [
        *torn,
        *misspelt,
        *rejected_rows(data),
        *near_contradictions(data, concerned),
    ]
    if judged is not None:
        known = {place for each in found for place in each.places}
        skip = frozenset(i for i, row in enumerate(data.rows) if row.place in known)
        mixed = list(overlaps(data, judged))
        pairs = {frozenset((e.old, e.new)) for each in mixed if each.fix for e in each.fix.edits}
        found += [*mixed, *wrong_labels(data, judged, skip, pairs)]
    found += [*leaks(data), *repeats(data), *thin_intents(data)]
    edits = [edit for each in misspelt if each.fix for edit in each.fix.edits]
    mended = {label for edit in edits for label in (edit.old, edit.new)}
    found += [*coverage(data, mended), *lint_answers(data)]
    found += lint_conditions(
        data.answers, always_open=always_open, asked=data.filled, values=slot_values(data)
    )
    found += lint_entities(data)
    return Examination(
        numbered(found), len(data.rows), len(data.by_label), len(data.answers), tuple(notes)
    )


def refuse_errors(data: BotData, sources: Sources) -> None:
    """Raises DataError, in one line that names the command, where training would learn what is
    surely wrong. Needs no model."""
    torn, _ = contradictions(data)
    errors = [each for each in (*torn, *misspelt_labels(data)) if each.severity == "error"]
    if errors:
        more = f" and {_many(len(errors) - 1, 'more error')}" if len(errors) > 1 else ""
        raise DataError(
            f"{errors[0].where}: {errors[0].what}{more}; see them all with their fixes: "
            f"{command_for(sources)}"
        )


def command_for(sources: Sources) -> str:
    """The command that examines these files."""
    parts: list[str] = ["triptych", "data", "doctor", "chatbot"]
    for path in sources.examples:
        parts += ["--examples", str(path)]
    for ours, theirs in sources.mapping.items():
        parts += [f"--{ours}-column", theirs]
    if sources.answers is not None:
        parts += ["--answers", str(sources.answers)]
    if sources.entities is not None:
        parts += ["--entities", str(sources.entities)]
    return shlex.join(parts)


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def chosen(findings: Sequence[Finding], wanted: Sequence[str]) -> tuple[Finding, ...]:
    """The findings that `wanted` names by id or kind, or all that are sure by `sure`; those with a
    fix.

    Raises DataError for a name that is none of these.
    """
    names = {each.id for each in findings} | {each.kind.replace(" ", "-") for each in findings}
    unknown = [name for name in wanted if name not in names | {"sure"}]
    if unknown:
        known = ", ".join(sorted({each.kind.replace(" ", "-") for each in findings}))
        raise DataError(
            f"--fix {unknown[0]}: no such finding here; expected sure, the id of a finding or "
            f"one of {known or 'no kind: nothing was found'}"
        )
    return tuple(
        each
        for each in findings
        if each.fix is not None
        and (
            ("sure" in wanted and each.fix.sure)
            or each.id in wanted
            or each.kind.replace(" ", "-") in wanted
        )
    )
