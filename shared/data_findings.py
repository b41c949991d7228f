"""What a check of somebody's data found: as lines, as JSON, and as a page for a person.

Findings are told, nothing is changed: what is done about one is the owner's to decide.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from jinja2 import Environment

from shared.atomic import write_text

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MARKS = {"error": "!", "warning": "-", "note": "+"}
PAGE, DATA = "data_doctor.html", "data_doctor.json"
LONGEST = 60
MOST_SHOWN = 5

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 64rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } .soft { color: #5b6675 }
table { border-collapse: collapse; width: 100% }
td, th { padding: .4rem .6rem; border-bottom: 1px solid #dde2e9; text-align: left;
  vertical-align: top; overflow-wrap: anywhere }
th { color: #5b6675; font-size: .85rem } td.severity { white-space: nowrap; font-weight: 600 }
.error { color: #b3362b } .warning { color: #8a6100 } .note { color: #5b6675 }
</style></head><body>
<h1>{{ report.title }}</h1>
{% for line in report.read %}<p class="soft">{{ line }}</p>{% endfor %}
<p>{{ report.summary }}</p>
{% if findings %}<table><tr><th></th><th>what</th><th>where</th><th>what to do</th></tr>
{% for each in findings %}<tr><td class="severity {{ each.severity }}">{{ each.severity }}</td>
<td>{{ each.what }}</td><td>{{ each.where }}</td><td>{{ each.fix }}</td></tr>{% endfor %}</table>
{% endif %}
</body></html>
"""


@dataclass(frozen=True)
class Finding:
    """severity: an error spoils what is trained or judged, a warning may, a note is good to know.
    what: with how many. where: file, lines, ids, the first few. fix: the way out, "" for none.
    """

    severity: Severity
    what: str
    where: str = ""
    fix: str = ""


@dataclass(frozen=True)
class DataReport:
    """read: a line on each file. findings: the worst first."""

    title: str
    read: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings are errors."""
        return sum(each.severity == "error" for each in self.findings)

    @property
    def summary(self) -> str:
        """How many of each severity."""
        counts = [
            (sum(each.severity == name for each in self.findings), name) for name in SEVERITIES
        ]
        told = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts if count]
        return ", ".join(told) or "Nothing to mend was found."

    @property
    def lines(self) -> tuple[str, ...]:
        """For a terminal: what was found, and indented where and what to do."""
        told = list(self.read)
        for each in by_severity(self.findings):
            told.append(f"{MARKS[each.severity]} {each.what}")
            told += [f"    {line}" for line in (each.where, each.fix) if line]
        return (*told, self.summary)

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "errors": self.errors}

    def write(self, folder: Path) -> Path:
        """data_doctor.html and data_doctor.json in `folder` (made if absent); the page's path."""
        text = json.dumps(self.as_dict(), ensure_ascii=False, indent=2)
        write_text(folder / DATA, text + "\n")
        page = Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE)
        write_text(folder / PAGE, page.render(report=self, findings=by_severity(self.findings)))
        return folder / PAGE


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first; within a severity as they were found."""
    return sorted(findings, key=lambda each: SEVERITIES.index(each.severity))


def shown(text: object) -> str:
    """A cell of somebody's file, fit for a terminal and a page: one short line, no control
    characters."""
    line = " ".join(str(text).split())
    clean = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in line)
    return clean if len(clean) <= LONGEST else f"{clean[: LONGEST - 1]}…"


def first_of(values: Sequence[object], most: int = MOST_SHOWN) -> str:
    """ "a, b, c and 12 more"."""
    told = ", ".join(shown(value) for value in values[:most])
    return f"{told} and {len(values) - most:,} more" if len(values) > most else told


def lines_of(lines: Sequence[int], most: int = MOST_SHOWN) -> str:
    """ "line 4", "lines 4, 7 and 12 more"; "" where no line is known."""
    if not len(lines):
        return ""
    return f"line{'s' if len(lines) > 1 else ''} {first_of(list(lines), most)}"
