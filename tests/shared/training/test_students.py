"""Students: made by kind, judged beside their teacher, and written only when the gate lets them."""

import json
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import DataError, ModelError, SettingsError
from shared.inference.parity import ParityGate, compare
from shared.inference.runtime import OnnxEmbedder, load_embedder
from shared.inference.static_table import StaticEmbedder
from shared.inference.torch_runtime import TorchEmbedder
from shared.modeling.encoder import Encoder
from shared.pretrained import SOURCE_FILE, PretrainedEncoder, resolve
from shared.training import processes, students
from shared.training.corpus import Corpus
from shared.training.examples import from_rows, split
from shared.training.options import StudentKind, TrainOptions
from shared.training.students import MANIFEST, Plan, shrink
from shared.training.table_student import TableFit, make_table

WORDS = {"card": "lost order bank", "tea": "good cup red", "news": "shares profit fall"}
FILLER = "the a my is was please help how will it when".split()
QUICK = TrainOptions(learning_rate=2e-3, bf16=False, progress=False, threads=1)
TWICE = replace(QUICK, epochs=2)
# A random encoder's neighbours are near ties; what its students reach is not the question here.
OPEN = ParityGate(-1.0, -1.0, 0.0, 0.0, 1.0)


def rows(count: int, seed: int) -> tuple[list[str], list[tuple[str]]]:
    rng = random.Random(seed)
    labels = [rng.choice(sorted(WORDS)) for _ in range(count)]
    texts = [" ".join([*rng.sample(WORDS[label].split(), 2), *rng.sample(FILLER, 4)])
             for label in labels]  # fmt: skip
    return texts, [(label,) for label in labels]


@pytest.fixture(scope="module")
def teacher(tiny_encoder: Path) -> PretrainedEncoder:
    return PretrainedEncoder("tiny", tiny_encoder, "good ", "1" * 64, "MIT")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    texts, _ = rows(120, 5)
    return Corpus(tuple(texts[:90]), tuple(texts[90:]), 120, 0, 0)


@pytest.fixture
def open_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(students, "GATES", dict.fromkeys(StudentKind, OPEN))


@pytest.mark.usefixtures("open_gates")
@pytest.mark.parametrize("kind", StudentKind)
def test_what_comes_out_is_a_base_encoder_with_its_origin(
    teacher: PretrainedEncoder, corpus: Corpus, tmp_path: Path, kind: StudentKind
) -> None:
    examples = split(from_rows(*rows(80, 6), kind="single"), fraction=0.25)
    layered = kind is StudentKind.LAYERS
    done = shrink(
        corpus, teacher=teacher, plan=Plan(kind, 1 if layered else None, 1.0, examples),
        options=TWICE if layered else QUICK,
        folder=tmp_path / "out", cache=tmp_path / "cache",
    )  # fmt: skip
    found = resolve(str(tmp_path / "out"), cache=tmp_path)
    assert (found.licence, found.prefix) == ("MIT", "good ")
    embedder = load_embedder(found.path, precision="int8" if "int8" in kind else "auto")
    kinds = {StudentKind.TABLE: StaticEmbedder, StudentKind.STATIC_INT8: OnnxEmbedder}
    assert isinstance(embedder, kinds.get(kind, (OnnxEmbedder, TorchEmbedder)))
    expected = load_embedder(teacher.path, precision="fp32", prefix="good ")
    cosines = (embedder.encode(corpus.held_out) * expected.encode(corpus.held_out)).sum(1)
    assert done.parity.cosine_mean == pytest.approx(float(cosines.mean()), abs=1e-4)
    assert done.accuracy is not None
    assert done.parity.metric_drop == done.accuracy.drop.value
    assert done.accuracy.replaced - done.accuracy.student == pytest.approx(done.accuracy.drop.value)
    assert {len(examples.train), len(examples.validation)} == {
        done.accuracy.train, done.accuracy.held_out,
    }  # fmt: skip
    manifest = json.loads((found.path / MANIFEST).read_text())
    assert manifest == json.loads(json.dumps(done.manifest()))
    assert manifest["passed"] is True
    assert manifest["base"] == {"name": "tiny", "sha256": "1" * 64, "licence": "MIT"}
    assert manifest["milliseconds"].keys() == {"replaced", "student"}
    assert "model.safetensors" in json.loads((found.path / SOURCE_FILE).read_text())["files"]
    assert not (tmp_path / "out.shrinking").exists()


@pytest.mark.usefixtures("open_gates")
def test_a_student_may_begin_as_another_encoder(
    teacher: PretrainedEncoder, wide_encoder: Path, corpus: Corpus, tmp_path: Path
) -> None:
    """Compared in its own width with what it was to learn; its licence is that of both."""
    wide = PretrainedEncoder("wide", wide_encoder, "", "2" * 64, "Apache-2.0")
    said: list[str] = []
    done = shrink(
        corpus, teacher=wide, plan=Plan(StudentKind.LAYERS, 2, 1.0, into=teacher), options=TWICE,
        folder=tmp_path / "out", cache=tmp_path / "cache", say=said.append,
    )  # fmt: skip
    found = resolve(str(tmp_path / "out"), cache=tmp_path)
    assert (found.licence, found.prefix) == ("MIT and Apache-2.0", "good ")
    manifest = json.loads((found.path / MANIFEST).read_text())
    assert manifest["base"]["name"] == "wide"
    assert manifest["into"] == {"name": "tiny", "sha256": "1" * 64, "licence": "MIT"}
    assert manifest["made"]["objective"] == "student of 2 layers, begun as 111111111111"
    source = json.loads((found.path / SOURCE_FILE).read_text())["source"]
    assert source == "tiny, taught by wide on unlabelled texts (student.json)"
    assert done.parity.cosine_mean == pytest.approx(done.made["after"]["cosine"], abs=0.02)
    assert manifest["milliseconds"].keys() == {"replaced", "student"}
    assert load_embedder(found.path).dim == 32


def test_only_a_student_of_layers_begins_as_another_encoder(teacher: PretrainedEncoder) -> None:
    with pytest.raises(SettingsError) as refused:
        Plan(StudentKind.TABLE, into=teacher)
    assert str(refused.value) == (
        "into = tiny for table: only a student of the kind layers can begin as another encoder; "
        "leave it out"
    )


def test_a_student_that_misses_the_gate_waits_for_force(
    teacher: PretrainedEncoder, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = replace(OPEN, cosine_mean=1.5)
    monkeypatch.setattr(students, "GATES", {StudentKind.TABLE: gate})
    folder = tmp_path / "out"

    def call(said: list[str], force: bool) -> students.Student:
        return shrink(
            corpus, teacher=teacher, plan=Plan(StudentKind.TABLE), options=QUICK, folder=folder,
            cache=tmp_path / "cache", force=force, say=said.append,
        )  # fmt: skip

    with pytest.raises(ModelError) as refused:
        call([], force=False)
    cosine = re.search(r"cosine_mean (\S+) below", str(refused.value))
    assert cosine is not None
    assert str(refused.value) == (
        f"{folder}: the student misses the gate: cosine_mean {cosine[1]} below 1.5; not written: "
        f"it waits in {folder}.shrinking for the same call with --force, or give more texts"
    )
    assert not folder.exists()
    said: list[str] = []
    done = call(said, force=True)
    assert said == ["The student was made by an earlier call"]
    assert done.failures == (f"cosine_mean {cosine[1]} below 1.5",)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert (manifest["passed"], manifest["failures"]) == (False, list(done.failures))


def test_the_drop_allowed_is_that_of_the_plan() -> None:
    for kind in StudentKind:
        gate = Plan(kind, allowed_drop=0.07).gate
        assert gate == replace(students.GATES[kind], metric_drop=0.07)


def test_who_begins_as_another_encoder_may_be_as_far_away_as_a_table(
    teacher: PretrainedEncoder,
) -> None:
    gate = Plan(StudentKind.LAYERS, 3, 0.07, into=teacher).gate
    assert gate == replace(students.GATES[StudentKind.TABLE], metric_drop=0.07)


@pytest.mark.usefixtures("open_gates")
def test_another_plan_is_made_anew(
    teacher: PretrainedEncoder, corpus: Corpus, tmp_path: Path
) -> None:
    said: list[str] = []
    for seed in (1, 2, 2):
        options = replace(QUICK, seed=seed)
        students.made_once(
            corpus, teacher, Plan(StudentKind.TABLE), options, tmp_path / "work", said.append
        )
    assert [line.split(":")[0] for line in said][-1] == "The student was made by an earlier call"
    assert sum(line.startswith("Ridge") for line in said) == 2


def test_what_cannot_be_made_is_refused(
    teacher: PretrainedEncoder, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(folder: Path) -> None:
        shrink(corpus, teacher=teacher, plan=Plan(StudentKind.LAYERS, 7), options=TWICE,
               folder=folder, cache=tmp_path / "cache")  # fmt: skip

    with pytest.raises(SettingsError) as refused:
        call(tmp_path / "out")
    assert str(refused.value) == "layers = 7: expected 1 to 1, for the teacher has 2"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError) as taken:
        call(tmp_path)
    assert str(taken.value) == (
        f"{tmp_path}: is there already; name another folder, or remove it first"
    )
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    with pytest.raises(SettingsError) as several:
        call(tmp_path / "other")
    assert str(several.value) == "2 processes: shrinking runs in one; leave out torchrun"


def test_the_gates_of_students_let_a_teacher_through() -> None:
    vectors = np.eye(5, dtype=np.float32)
    for gate in students.GATES.values():
        same = compare(vectors, vectors)
        assert replace(same, metric_drop=0.0).failures(gate) == ()


def test_what_is_made_in_one_go_takes_neither_layers_nor_minutes(
    teacher: PretrainedEncoder, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as layers:
        Plan(StudentKind.TABLE, 3)
    assert str(layers.value) == (
        "layers = 3 for table: only a student of the kind layers has layers to choose; leave it out"
    )
    for options in (TWICE, replace(QUICK, minutes=1.0)):
        with pytest.raises(SettingsError) as minutes:
            shrink(corpus, teacher=teacher, plan=Plan(StudentKind.STATIC_INT8), options=options,
                   folder=tmp_path / "out", cache=tmp_path / "cache")  # fmt: skip
        assert str(minutes.value) == (
            "minutes and epochs are for the kind layers: static-int8 is made in one go; leave them "
            "out"
        )
    assert list(tmp_path.iterdir()) == []


def test_int8_on_a_gpu_is_refused_before_anything_is_made(
    teacher: PretrainedEncoder, corpus: Corpus, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as refused:
        shrink(corpus, teacher=teacher, plan=Plan(StudentKind.STATIC_INT8),
               options=replace(QUICK, device="cuda"), folder=tmp_path / "out",
               cache=tmp_path / "cache")  # fmt: skip
    assert str(refused.value) == (
        "device = 'cuda': a student of the kind static-int8 gives int8 vectors, which are computed "
        "on processors; use auto or cpu"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("open_gates")
def test_a_record_without_its_encoder_is_not_believed(
    teacher: PretrainedEncoder, corpus: Corpus, tmp_path: Path
) -> None:
    said: list[str] = []
    for _ in range(2):
        students.made_once(
            corpus, teacher, Plan(StudentKind.TABLE), QUICK, tmp_path / "work", said.append
        )
        shutil.rmtree(tmp_path / "work" / "encoder")
    assert sum(line.startswith("Ridge") for line in said) == 2


@pytest.mark.usefixtures("open_gates")
def test_a_table_needs_no_more_texts_than_it_can_use(
    teacher: PretrainedEncoder, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher, which is slow, is asked about those alone."""
    asked: list[int] = []

    def counted(encoder: Encoder, texts: Sequence[str], *given: Any, **more: Any) -> TableFit:
        asked.append(len(texts))
        return make_table(encoder, texts, *given, **more)

    monkeypatch.setattr(students, "MOST_TEXTS", 50)
    monkeypatch.setattr(students, "make_table", counted)
    students.made_once(
        corpus, teacher, Plan(StudentKind.TABLE), QUICK, tmp_path / "work", lambda _: None
    )
    assert asked == [50]
