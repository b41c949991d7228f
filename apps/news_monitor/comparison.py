"""Two versions of the news labeller on the same headlines, and what a promotion may depend on."""

from collections.abc import Callable, Mapping
from pathlib import Path

from apps.news_monitor.judgement import outcomes_of
from apps.news_monitor.labelling import Labeller
from apps.news_monitor.labels import SENTIMENTS, Labels
from apps.news_monitor.recipe import TOPICS, rows_for
from shared.evaluation.leakage import seen_by_either
from shared.evaluation.outcomes import Case, Contest
from shared.evaluation.race import Race, texts_of_both
from shared.settings import Home
from shared.tables import Column, read_table
from shared.training.examples import SEPARATOR

Say = Callable[[str], None]


def compare(
    candidate: Path,
    production: Path,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    say: Say,
) -> Contest:
    """Both on a table as `evaluate` takes it; topics count where both have them.

    Raises: DataError: the table. ModelError: a folder.
    """
    new, old = Labeller.load(candidate, home=home), Labeller.load(production, home=home)
    held = rows_for(new, path, mapping, home, say)
    notes = []
    if TOPICS in held and not old.topics:
        del held[TOPICS]
        notes.append("production has no topics: nothing to compare them with")
    seen = []
    for name, part in held.items():
        rows, note = seen_by_either(part.texts, candidate / name, production / name)
        seen.append(rows)
        notes.append(f"{name}: {note}")
    return Contest(
        candidate=outcomes_of(new, held),
        production=outcomes_of(old, held),
        seen=tuple(seen),
        serve=(new.label, old.label),
        asked=tuple(text for part in held.values() for text in part.texts),
        notes=tuple(notes),
    )


def race(candidate: Path, production: Path, home: Home) -> Race:
    """Both, to be timed on held-out headlines of both. Raises ModelError: a folder."""
    new, old = Labeller.load(candidate, home=home), Labeller.load(production, home=home)
    return Race((new.label, old.label), texts_of_both(candidate, production))


def cases(folder: Path, path: Path, home: Home, *, say: Say) -> tuple[Case, ...]:  # noqa: ARG001
    """A must-pass file `text,label`: a sentiment, or topics joined by | that must all be given."""
    table = read_table(path, [Column("text"), Column("label")], mapping={})
    texts = [str(text) for text in table.frame["text"]]
    labels = [str(label).strip() for label in table.frame["label"]]
    given = Labeller.load(folder, home=home).label(texts)
    return tuple(
        _case(text, label, found) for text, label, found in zip(texts, labels, given, strict=True)
    )


def _case(text: str, label: str, found: Labels) -> Case:
    if label.casefold() in SENTIMENTS:
        return Case(text, label, found.sentiment, found.sentiment == label.casefold())
    due = {part.strip() for part in label.split(SEPARATOR) if part.strip()}
    return Case(text, label, SEPARATOR.join(found.topics), due <= set(found.topics))
