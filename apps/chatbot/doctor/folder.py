"""A doctor's folder: findings.json for machines and the page, report.html for a person."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.chatbot.doctor.examination import Examination
from apps.chatbot.doctor.findings import Finding, Place
from apps.chatbot.doctor.reading import Sources
from apps.chatbot.doctor.report import doctor_page
from shared.atomic import write_text
from shared.errors import DataError

FINDINGS_FILE = "findings.json"
REPORT_FILE = "report.html"
FIXED_FOLDER = "fixed"


@dataclass(frozen=True)
class Examined:
    """What a folder holds: the findings and the files they are about."""

    folder: Path
    words: str
    findings: tuple[Finding, ...]
    sources: Sources
    hashes: Mapping[str, str]
    notes: tuple[str, ...]

    def changed(self) -> str | None:
        """The first of the files that is no longer what was examined, None while all are."""
        return next(
            (name for name, known in self.hashes.items() if sha256_of(Path(name)) != known), None
        )


def save(found: Examination, sources: Sources, folder: Path) -> None:
    """Raises DataError when the folder cannot be written."""
    content = found.as_dict() | {
        "findings": [each.somewhere_else(_absolute).as_dict() for each in found.findings],
        "examples_files": [str(path.resolve()) for path in sources.examples],
        "answers_file": str(sources.answers.resolve()) if sources.answers else None,
        "validation_files": [str(path.resolve()) for path in sources.validation],
        "out_of_scope_file": str(sources.out_of_scope.resolve()) if sources.out_of_scope else None,
        "entities_file": str(sources.entities.resolve()) if sources.entities else None,
        "mapping": dict(sources.mapping),
        "sha256": {str(path.resolve()): sha256_of(path) for path in sources.files},
    }
    try:
        write_text(folder / REPORT_FILE, doctor_page(found, sources))
        write_text(folder / FINDINGS_FILE, json.dumps(content, ensure_ascii=False, indent=1))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None


def load(folder: Path) -> Examined:
    """Raises DataError when findings.json is missing or not what `save` writes."""
    path = folder / FINDINGS_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        single = (content.get(f"{each}_file") for each in ("answers", "out_of_scope", "entities"))
        answers, refused, entities = (Path(name) if name else None for name in single)
        sources = Sources(
            tuple(map(Path, content["examples_files"])), answers,
            tuple(map(Path, content["validation_files"])), refused, dict(content["mapping"]),
            entities,
        )  # fmt: skip
        findings = tuple(Finding.of_dict(each) for each in content["findings"])
        return Examined(
            folder, str(content["words"]), findings, sources, dict(content["sha256"]),
            tuple(content["notes"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not readable findings ({error}); examine again") from None


def _absolute(place: Place) -> Place:
    return Place(str(Path(place.file).resolve()), place.line)


def sha256_of(path: Path) -> str:
    """Of a file's bytes; "" where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
