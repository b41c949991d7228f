"""Values in no list, learned from the words around them; and what a model keeps of entities."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apps.chatbot.answers import AnswerBook
from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.given import Given, given_by, kept_in
from apps.chatbot.entities.spans import Message
from apps.chatbot.entities.tagger import NOTHING, LabelFigures, Tagger
from apps.chatbot.entities.tagger_fitting import NEVER, Row, fit_tagger, label_of
from apps.chatbot.formats.kept import Entity, read_kept
from apps.chatbot.questions import Questions, read_questions
from shared.errors import DataError, ModelError
from shared.settings import Home

FILE = """\
lookups:
  size:
  - small
  - large
synonyms:
  large: [big]
  Rome: [Roma]
regexes:
  greet: ['hey.*']
"""


def examples(seed: int, count: int) -> tuple[list[str], list[tuple[Entity, ...]]]:
    """`to NAME`, `call NAME` and words without a value; names of random letters. Of what is called
    every second one is not marked."""
    rng = np.random.default_rng(seed)
    texts: list[str] = []
    marked: list[tuple[Entity, ...]] = []
    for number in range(count):
        names = ["".join(rng.choice(list("abdefgiklmnoprstu"), 6)) for _ in range(4)]
        kind = number % 3
        before = f"{names[1]} {names[2]} " + ("travel to " if kind < 1 else "please call ")
        texts.append(f"{before}{names[0]} {names[3]}" if kind < 2 else " ".join(names))
        city = Entity(len(before), len(before) + 6, {"entity": "city", "role": "goal"})
        person = Entity(len(before), len(before) + 6, {"entity": "person"})
        marked.append(() if kind == 2 else (city,) if kind == 0 else (person,) * (number % 2))
    return texts, marked


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    made = fit_tagger(*examples(1, 240), seed=1)
    assert made is not None
    return made


def test_new_values_are_found_by_what_stands_before_them(tagger: Tagger) -> None:
    texts, marked = examples(2, 60)
    for text, entities in zip(texts, marked, strict=True):
        found = tagger.find(Message.of(text), str.upper)
        truth = [e for e in entities if e.properties["entity"] == "city"]
        assert [(s.name, s.role, s.start, s.end, s.value) for s in found] == [
            ("city", "goal", e.start, e.end, text[e.start : e.end].upper()) for e in truth
        ]


def test_what_is_often_wrong_is_never_told(tagger: Tagger) -> None:
    figures = {each.entity: each for each in tagger.figures}
    assert figures["person"] == LabelFigures("person", "", 40, 0, 0, NEVER)
    assert figures["city"].found == figures["city"].right == figures["city"].annotated == 80
    assert tagger.names == ("city", "goal")


def test_too_few_values_teach_nothing() -> None:
    assert fit_tagger(*examples(1, 30), seed=1) is None
    assert fit_tagger(["a"], [()], seed=1) is None


def test_an_example_is_marked_word_by_word() -> None:
    sys_date = Entity(11, 17, {"entity": "sys.date", "role": "day"})
    row = Row.of("Ｉ leave\ton Monday  the 2nd", (sys_date,))
    assert [word.key for word in row.words] == ["i", "leave", "on", "monday", "the", "2nd"]
    assert row.labels == (NOTHING, NOTHING, NOTHING, ("day", ""), NOTHING, NOTHING)
    assert row.values == {(3, 4, ("day", ""))}
    assert label_of(Entity(0, 1, {"entity": "our_date"})) == NOTHING


@pytest.fixture
def given(tmp_path: Path, tagger: Tagger) -> Given:
    (tmp_path / "entities.yml").write_text(FILE)
    texts, labels = ("a big one", "hey ana@example.com", "to Roma"), ("order", "greet", "trip")
    made = given_by(Questions(texts, labels, None), tmp_path / "entities.yml",  # type: ignore[arg-type]
                    seed=1, say=lambda _: None)  # fmt: skip
    marked = ('[{"start": 2, "end": 5, "properties": {"entity": "size"}}]',
              '[{"start": 4, "end": 19, "properties": {"entity": "who"}}]', "")  # fmt: skip
    kept = read_kept(tmp_path / "entities.yml")
    return Given(texts, type(kept)(marked, kept.kinds), Entities(made.entities.lists, tagger))


def test_a_model_keeps_them_and_gives_them_back(given: Given, tmp_path: Path) -> None:
    given.save(tmp_path / "model")
    read = Entities.load(tmp_path / "model")
    text = "hey BIG odubst travel to roma"
    assert read.find(text) == given.entities.find(text)
    assert read.slots(text) == {"size": "large", "city": "Rome", "goal": "Rome"}
    assert read.names == ("size", "city", "goal")
    back = kept_in(tmp_path / "model", given.texts)
    # The pattern is given back, though it tells an intent; no example with personal data is.
    assert back.kinds == given.kept.kinds
    assert back.entities == (given.kept.entities[0], "", "")


def test_a_model_without_entities_keeps_nothing(tmp_path: Path) -> None:
    nothing = given_by(Questions(("a",), ("b",), AnswerBook()), None, seed=1, say=print)
    nothing.save(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert Entities.load(tmp_path).names == ()
    assert kept_in(tmp_path, ("a",)).kinds == {}


def test_what_finds_nothing_is_given_back_and_hinders_no_start(tmp_path: Path) -> None:
    """Synonyms without a list, and too few marked examples to learn from."""
    (tmp_path / "entities.yml").write_text("synonyms:\n  Rome: [Roma]\n")
    marked = '[{"start": 3, "end": 7, "properties": {"entity": "city"}}]'
    kept = replace(read_kept(tmp_path / "entities.yml"), entities=(marked,))
    Given(("to Roma",), kept, Entities()).save(tmp_path / "model")
    assert Entities.load(tmp_path / "model").names == ()
    assert kept_in(tmp_path / "model", ("to Roma",)) == kept


@pytest.mark.parametrize("name", ["lists.json", "tagger.json", "tagger.safetensors"])
def test_a_damaged_file_is_said_in_one_line(given: Given, tmp_path: Path, name: str) -> None:
    given.save(tmp_path)
    (tmp_path / "entities" / name).write_bytes(b'{"features": []')
    with pytest.raises(ModelError, match=r"^\S+entities/\w+\.json: not readable \(.*\)$"):
        Entities.load(tmp_path)


def test_a_damaged_file_is_not_given_back(given: Given, tmp_path: Path) -> None:
    given.save(tmp_path)
    (tmp_path / "entities" / "given.json").write_text("[]")
    with pytest.raises(ModelError, match=r"^\S+given\.json: not readable \(.*\)$"):
        kept_in(tmp_path, given.texts)


def test_annotations_are_read_from_the_examples(tmp_path: Path) -> None:
    table = tmp_path / "e.csv"
    table.write_text('text,label,entities\none,a,"[]"\n,a,x\ntwo,a,\n')
    asked = read_questions(table, {}, Home(tmp_path / "home"), lambda _: None)
    (tmp_path / "entities.yml").write_text("lookups: {size: small}\n")
    with pytest.raises(DataError) as caught:
        given_by(asked, tmp_path / "entities.yml", seed=1, say=print)
    assert str(caught.value) == (
        f"{tmp_path}/entities.yml: lookups, size: each name with a list of texts, as in lookups: "
        "{city: [Berlin, Hamburg]}"
    )
    assert given_by(asked, None, seed=1, say=print).kept.entities == ("[]", "")
