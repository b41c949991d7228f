"""A finding: how bad, what, where, and the edits that would mend it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]
Kind = Literal[
    "unusable row",
    "contradiction",
    "near contradiction",
    "repeated example",
    "misspelt label",
    "wrong label",
    "overlap",
    "thin intent",
    "leak",
    "no answer",
    "never asked",
    "unfilled slot",
    "unknown slot",
    "mask",
    "idle condition",
    "no fallback",
    "unusable pattern",
    "double value",
    "common value",
]
Action = Literal[
    "drop", "relabel", "merge", "drop answer", "relabel answer", "rewrite answer", "drop value",
]  # fmt: skip


@dataclass(frozen=True, order=True)
class Place:
    """A line of a file, from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Edit:
    """One change to a copy of the files.

    place: the row or the answer; of a merge, the first row of the intent that goes. old: the text
    or label that is there, of an answer to be rewritten the part of it, of a list the value. new:
    what takes its place, "" where it is dropped.
    """

    action: Action
    place: Place
    old: str
    new: str = ""


@dataclass(frozen=True)
class Fix:
    """words: what it does. sure: a person need not look at it first."""

    words: str
    edits: tuple[Edit, ...]
    sure: bool = False


@dataclass(frozen=True)
class Finding:
    """id: of its report, `contradiction-1`. advice: what to do where no edit can do it."""

    kind: Kind
    severity: Severity
    what: str
    places: tuple[Place, ...]
    fix: Fix | None = None
    advice: str = ""
    id: str = ""

    @property
    def where(self) -> str:
        """The first places, and how many more there are."""
        shown = ", ".join(map(str, self.places[:3]))
        return shown if len(self.places) <= 3 else f"{shown} and {len(self.places) - 3} more"

    @property
    def way_out(self) -> str:
        return self.fix.words if self.fix else self.advice

    def somewhere_else(self, moved: Callable[[Place], Place]) -> "Finding":
        """The finding with every place as `moved` gives it."""
        fix = self.fix and replace(
            self.fix, edits=tuple(replace(e, place=moved(e.place)) for e in self.fix.edits)
        )
        return replace(self, places=tuple(map(moved, self.places)), fix=fix)

    def as_dict(self) -> dict[str, Any]:
        fix = None if self.fix is None else {
            "words": self.fix.words,
            "sure": self.fix.sure,
            "edits": [
                {"action": e.action, "file": e.place.file, "line": e.place.line, "old": e.old,
                 "new": e.new} for e in self.fix.edits
            ],
        }  # fmt: skip
        return {
            "id": self.id, "kind": self.kind, "severity": self.severity, "what": self.what,
            "where": [{"file": place.file, "line": place.line} for place in self.places],
            "fix": fix, "advice": self.advice,
        }  # fmt: skip

    @classmethod
    def of_dict(cls, row: Mapping[str, Any]) -> "Finding":
        """Raises KeyError, TypeError or ValueError for what `as_dict` does not give."""
        fix = row["fix"] and Fix(
            str(row["fix"]["words"]),
            tuple(
                Edit(e["action"], Place(str(e["file"]), int(e["line"])), str(e["old"]), e["new"])
                for e in row["fix"]["edits"]
            ),
            bool(row["fix"]["sure"]),
        )
        places = tuple(Place(str(each["file"]), int(each["line"])) for each in row["where"])
        return cls(
            row["kind"], row["severity"], str(row["what"]), places, fix or None,
            str(row["advice"]), str(row["id"]),
        )  # fmt: skip


def numbered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, else as they come; each with an id of its own."""
    count: Counter[str] = Counter()
    out = []
    for each in sorted(findings, key=lambda finding: finding.severity != "error"):
        count[each.kind] += 1
        name = f"{each.kind.replace(' ', '-')}-{count[each.kind]}"
        out.append(replace(each, id=name))
    return tuple(out)


def place_of(source: tuple[Path, int]) -> Place:
    return Place(str(source[0]), source[1])


def quoted(text: str, width: int = 60) -> str:
    """A customer's words inside a sentence, on one line."""
    flat = " ".join(text.split())
    return f"“{flat if len(flat) <= width else flat[: width - 1] + '…'}”"
