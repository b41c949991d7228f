"""What a bot's files say of entities: made into what finds them, and kept to be given back."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apps.chatbot.entities.entities import FOLDER, Entities
from apps.chatbot.entities.lists import EntityLists
from apps.chatbot.entities.tagger import LabelFigures
from apps.chatbot.entities.tagger_fitting import fit_tagger
from apps.chatbot.formats.kept import Kept, Kinds, kept_of, plain, read_kept
from apps.chatbot.questions import Questions
from shared.atomic import write_text
from shared.errors import DataError, ModelError
from shared.inference.spelling import Spelling
from shared.tables import Column, read_table, sniff_columns
from shared.text import mask_personal_data

GIVEN_FILE = "given.json"


@dataclass(frozen=True)
class Given:
    """texts: the examples; kept: their annotations and what the entities file holds. entities: what
    finds them in messages. notes: what was learned, for the report."""

    texts: tuple[str, ...]
    kept: Kept
    entities: Entities
    notes: tuple[str, ...] = ()

    def save(self, folder: Path) -> None:
        """Write into a model's folder what finds them, and what gives them back; nothing where
        there is nothing. Of examples with personal data in them nothing is kept."""
        self.entities.save(folder)
        annotated = {
            text: entities for text, entities in zip(self.texts, self.kept.entities, strict=False)
            if entities and mask_personal_data(text) == text
        }  # fmt: skip
        content = plain(self.kept) | ({"annotated": annotated} if annotated else {})
        if content:
            text = json.dumps(content, ensure_ascii=False) + "\n"
            write_text(folder / FOLDER / GIVEN_FILE, text)


def kept_in(folder: Path, texts: Sequence[str]) -> Kept:
    """What a model's folder gives back, with the annotations of these examples; nothing where it
    keeps nothing. Raises ModelError when the file is damaged."""
    path = folder / FOLDER / GIVEN_FILE
    if not path.is_file():
        return Kept()
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        annotated: Mapping[str, str] = content.pop("annotated", {})
        kept = kept_of(content, str(path))
        return replace(kept, entities=tuple(str(annotated.get(text, "")) for text in texts))
    except (OSError, ValueError, AttributeError, TypeError, DataError) as error:
        raise ModelError(f"{path}: not readable ({error})") from error


def given_by(
    asked: Questions, path: Path | None, *, seed: int, say: Callable[[str], None]
) -> Given:
    """Lists of an entities file, and what can be learned of annotated examples.

    Raises: DataError: the file, or what `lists.checked` refuses.
    """
    kept = replace(Kept() if path is None else read_kept(path), entities=annotations(asked))
    kinds = of_values(kept.kinds, asked.labels)
    words = [value for named in kinds.get("lookups", {}).values() for value in named]
    words += [name for names in kinds.get("synonyms", {}).values() for name in names]
    try:
        lists = EntityLists(kinds, Spelling.of([*asked.texts, *words] if words else ()))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    tagger = None
    if any(kept.entities):
        say(f"learning entities from {sum(map(bool, kept.entities)):,} annotated examples")
        rows = [kept.of(row) for row in range(len(asked.texts))]
        tagger = fit_tagger(asked.texts, rows, seed=seed)
    notes = () if tagger is None else tuple(map(in_words, tagger.figures))
    return Given(asked.texts, kept, Entities(lists, tagger), notes)


def of_values(kinds: Kinds, labels: Sequence[str]) -> Kinds:
    """The kinds without regular expressions that bear the name of an intent: with Rasa they tell
    intents and no values."""
    regexes = {n: v for n, v in kinds.get("regexes", {}).items() if n not in set(labels)}
    return {**kinds, "regexes": regexes} if "regexes" in kinds else kinds


def annotations(asked: Questions) -> tuple[str, ...]:
    """The column `entities` of the examples, as an import writes it; empty where there is none."""
    found: dict[tuple[Path, int], str] = {}
    for path in dict.fromkeys(path for path, _ in asked.places):
        if "entities" in sniff_columns(path):
            table = read_table(path, [Column("entities", allow_empty=True)], every_row=True)
            several = zip(table.lines.tolist(), table.frame["entities"], strict=True)
            found |= {(path, line): str(given) for line, given in several}
    return tuple(found.get(place, "") for place in asked.places) if found else ()


def in_words(each: LabelFigures) -> str:
    """How well an entity was learned, in a sentence."""
    name = f"{each.entity} ({each.role})" if each.role else each.entity
    if each.threshold > 1:
        return f"entity {name}: not told, its {each.annotated} annotated values teach too little"
    return (
        f"entity {name}: {each.found} of {each.annotated} annotated values would be found, "
        f"{each.found - each.right} of them wrongly"
    )
