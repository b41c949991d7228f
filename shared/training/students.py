"""Smaller encoders made from a base encoder and unlabelled texts, behind a gate.

What comes out is an encoder like any other: `--base DIR` takes it. Beside the weights lies a
manifest of what it was made from, and of how near it comes to its teacher on held-out texts.
"""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shared.atomic import write_text
from shared.errors import ModelError, SettingsError
from shared.inference.batches import unit_length
from shared.inference.calibrate import calibrate
from shared.inference.export import export_int8
from shared.inference.parity import Parity, ParityGate, compare
from shared.inference.runtime import (
    CALIBRATION_FILE,
    ONNX_FOLDER,
    Embedder,
    load_embedder,
)
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import DESCRIPTION_FILE, read_encoder_folder
from shared.pretrained import SOURCE_FILE, PretrainedEncoder
from shared.training import layer_student
from shared.training.corpus import Corpus
from shared.training.encoder_work import (
    check_free,
    check_one_process,
    once,
    origin_of,
    publish,
)
from shared.training.examples import Split
from shared.training.layer_student import distil_layers
from shared.training.machine import machine_of, training_conditions
from shared.training.options import ALLOWED_DROP, STUDENT_LAYERS, StudentKind, TrainOptions
from shared.training.pretraining_stage import Say, Stage
from shared.training.runs import fingerprint
from shared.training.student_figures import (
    Accuracy,
    Speed,
    measure_accuracy,
    measure_speed,
    megabytes_of,
)
from shared.training.student_space import StudentSpace
from shared.training.table_student import MOST_TEXTS, make_table, write_table

MANIFEST = "student.json"
REPLACED, STUDENT = "replaced", "student"
COMPARED_TEXTS = 400
CALIBRATION_TEXTS = 400
# What a student must reach. Of a text's two vectors the classifier needs what tells texts apart,
# so a student with vectors of its own may be farther away than a rounded copy of its teacher, and
# one that begins as another encoder as far as a table: it is to be better than that encoder was.
GATES: Mapping[StudentKind, ParityGate] = {
    StudentKind.LAYERS: ParityGate(cosine_min=-1.0, cosine_mean=0.9, neighbour_agreement=0.6),
    StudentKind.TABLE: ParityGate(cosine_min=-1.0, cosine_mean=0.75, neighbour_agreement=0.3),
    StudentKind.STATIC_INT8: ParityGate(),
}


@dataclass(frozen=True)
class Plan:
    """What is to be made. layers: of a student of that kind. allowed_drop: of accuracy.
    examples: labelled texts and a held-out part, where accuracy is to be measured too. into: the
    encoder that a student of layers begins as; the teacher itself by default.

    Raises SettingsError: layers, or another start, for a student that has none.
    """

    kind: StudentKind
    layers: int | None = None
    allowed_drop: float = ALLOWED_DROP
    examples: Split | None = None
    into: PretrainedEncoder | None = None

    def __post_init__(self) -> None:
        if self.into is not None and self.kind is not StudentKind.LAYERS:
            raise SettingsError(
                f"into = {self.into.name} for {self.kind.value}: only a student of the kind "
                f"{StudentKind.LAYERS.value} can begin as another encoder; leave it out"
            )
        if self.layers is not None and self.kind is not StudentKind.LAYERS:
            raise SettingsError(
                f"layers = {self.layers} for {self.kind.value}: only a student of the kind "
                f"{StudentKind.LAYERS.value} has layers to choose; leave it out"
            )

    @property
    def kept_layers(self) -> int:
        return STUDENT_LAYERS if self.layers is None else self.layers

    @property
    def gate(self) -> ParityGate:
        kind = StudentKind.TABLE if self.into else self.kind
        return replace(GATES[kind], metric_drop=self.allowed_drop)


@dataclass(frozen=True)
class Student:
    """A finished student. parity: with the teacher in fp32 on held-out texts; made: what the making
    said of itself; megabytes: of the weights in the folder, in int8 where that lies beside them.
    accuracy, speed, megabytes: beside the encoder whose place it takes, which is the one it began
    as."""

    folder: Path
    base: PretrainedEncoder
    plan: Plan
    corpus: Corpus
    made: Mapping[str, Any]
    parity: Parity
    accuracy: Accuracy | None
    speed: Mapping[str, Speed]
    megabytes: Mapping[str, float]
    seconds: float

    @property
    def failures(self) -> tuple[str, ...]:
        """What misses the gate."""
        return self.parity.failures(self.plan.gate)

    @property
    def replaced(self) -> PretrainedEncoder:
        """The encoder whose place it takes."""
        return self.plan.into or self.base

    @property
    def source(self) -> str:
        """What it was made from, in words."""
        if self.plan.into is None:
            return f"{self.base.name}, made smaller on unlabelled texts"
        return f"{self.plan.into.name}, taught by {self.base.name} on unlabelled texts"

    @property
    def licence(self) -> str:
        """Of its weights: those of all encoders that it was made from."""
        own = [] if self.plan.into is None else [self.plan.into.licence]
        return " and ".join(dict.fromkeys([*own, self.base.licence]))

    def manifest(self) -> dict[str, Any]:
        """For a file beside the weights."""
        return {
            "kind": self.plan.kind.value,
            "passed": not self.failures,
            "failures": list(self.failures),
            "gate": asdict(self.plan.gate),
            "parity": asdict(self.parity),
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "milliseconds": {name: asdict(speed) for name, speed in self.speed.items()},
            "megabytes": dict(self.megabytes),
            "made": dict(self.made),
            "base": origin_of(self.base),
            "into": None if self.plan.into is None else origin_of(self.plan.into),
            "data": {
                "sha256": self.corpus.sha256,
                "train": len(self.corpus.train),
                "held_out": len(self.corpus.held_out),
            },
            "seconds": self.seconds,
        }


def shrink(
    corpus: Corpus,
    *,
    teacher: PretrainedEncoder,
    plan: Plan,
    options: TrainOptions,
    folder: Path,
    cache: Path,
    force: bool = False,
    say: Say = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Student:
    """Make the student, compare it with its teacher on the held-out texts, write it into `folder`.

    A student that misses the gate is not written, unless `force`; it waits beside `folder`, so that
    the same call with force need not make it again. cache: Home.cache.

    Raises:
        DataError: `folder` is there already. SettingsError: under several processes, more layers
            than there are, or as check_options. ModelError: the teacher, or a student that misses
            the gate.
    """
    check_free(folder)
    check_one_process("shrinking")
    check_options(plan.kind, options)
    work = folder.with_name(f"{folder.name}.shrinking")
    started = clock()
    with training_conditions(options):
        made = made_once(corpus, teacher, plan, options, work, say, clock)
        student = judged(
            corpus, teacher, plan, options, work / "encoder", cache=cache, made=made, say=say
        )
    done = replace(student, folder=folder, seconds=clock() - started)
    if done.failures and not force:
        raise ModelError(
            f"{folder}: the student misses the gate: {'; '.join(done.failures)}; not written: it "
            f"waits in {work} for the same call with --force, or give more texts"
        )
    publish(
        work / "encoder", folder, work=work, manifest=done.manifest(), name=MANIFEST,
        source=done.source, licence=done.licence,
    )  # fmt: skip
    return done


def check_options(kind: StudentKind, options: TrainOptions) -> None:
    """Raises SettingsError: minutes or epochs for what is made in one go, or a GPU for int8."""
    if kind is not StudentKind.LAYERS and (options.minutes or options.epochs):
        raise SettingsError(
            f"minutes and epochs are for the kind {StudentKind.LAYERS.value}: "
            f"{kind.value} is made in one go; leave them out"
        )
    if kind is StudentKind.STATIC_INT8 and options.device == "cuda":
        raise SettingsError(
            f"device = 'cuda': a student of the kind {kind.value} gives int8 vectors, which are "
            "computed on processors; use auto or cpu"
        )


def made_once(
    corpus: Corpus,
    teacher: PretrainedEncoder,
    plan: Plan,
    options: TrainOptions,
    work: Path,
    say: Say,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """The student in work/encoder and what its making said; of an earlier call where that came to
    its end."""
    recipe = layer_student.RECIPE if plan.kind is StudentKind.LAYERS else None
    start = None if plan.into is None else plan.into.sha256
    name = fingerprint(
        options, teacher.sha256, plan.kind, plan.layers, start, recipe, corpus.sha256
    )
    objective = f"student of {plan.kept_layers} layers"
    if start is not None:
        objective += f", begun as {start[:12]}"
    stage = Stage(
        objective, layer_student.METRIC, layer_student.RECIPE, corpus, teacher,
        replace(options, layer_decay=1.0), work / "encoder", say, clock,
    )  # fmt: skip
    made, earlier = once(
        work / "made.json", name, stage.folder, lambda: _MAKERS[plan.kind](stage, plan)
    )
    if earlier:
        say("The student was made by an earlier call")
    return made


def _make_layers(stage: Stage, plan: Plan) -> dict[str, Any]:
    trained = distil_layers(stage, plan.kept_layers, plan.into, space_beside(stage.folder))
    _export(stage)
    return {"layers": plan.kept_layers, **asdict(trained)}


def _make_table(stage: Stage, _: Plan) -> dict[str, Any]:
    options, teacher = stage.options, stage.pretrained
    encoder = Encoder.from_pretrained(teacher.path, teacher.prefix, options.max_length)
    texts = stage.corpus.train[:MOST_TEXTS]  # in random order
    vectors = _reference(teacher, options).encode(texts)
    fit = make_table(encoder, texts, vectors, machine=machine_of(options))
    write_table(stage.folder, fit, encoder)
    stage.say(f"Ridge {fit.ridge:g}: cosine {fit.cosines[fit.ridge]:.3f} on texts left out")
    return {"ridge": fit.ridge, "cosines": {str(key): v for key, v in fit.cosines.items()}}


def _make_static_int8(stage: Stage, _: Plan) -> dict[str, Any]:
    teacher, options = stage.pretrained, stage.options
    found = read_encoder_folder(teacher.path, prefix=teacher.prefix, max_length=options.max_length)
    texts = stage.corpus.train[:CALIBRATION_TEXTS]  # in random order
    calibration = calibrate(found, texts, seed=options.seed)
    shutil.copytree(
        teacher.path, stage.folder, ignore=shutil.ignore_patterns(ONNX_FOLDER, SOURCE_FILE)
    )
    description = {
        "prefix": found.prefix, "max_length": found.max_length, "pooling": found.pooling
    }  # fmt: skip
    write_text(stage.folder / DESCRIPTION_FILE, json.dumps(description, indent=2) + "\n")
    calibration.write(stage.folder / CALIBRATION_FILE)
    _export(stage)
    return {"texts": calibration.texts, "activations": len(calibration.spans)}


_MAKERS: Mapping[StudentKind, Callable[[Stage, Plan], dict[str, Any]]] = {
    StudentKind.LAYERS: _make_layers,
    StudentKind.TABLE: _make_table,
    StudentKind.STATIC_INT8: _make_static_int8,
}


def _export(stage: Stage) -> None:
    """The int8 form beside the weights, its parity judged on texts of the house."""
    report = export_int8(
        stage.folder,
        stage.folder / ONNX_FOLDER,
        stage.corpus.held_out[:COMPARED_TEXTS],
        threads=stage.options.threads,
    )
    if report.int8_failures:
        stage.say(f"No int8 for it: {'; '.join(report.int8_failures)}")


def judged(
    corpus: Corpus,
    teacher: PretrainedEncoder,
    plan: Plan,
    options: TrainOptions,
    folder: Path,
    *,
    cache: Path,
    made: Mapping[str, Any],
    say: Say = lambda _: None,
) -> Student:
    """The student in `folder` beside the encoder whose place it takes, both as they are served;
    its vectors compared with the teacher's in fp32."""
    texts = corpus.held_out[:COMPARED_TEXTS]
    static = plan.kind is StudentKind.STATIC_INT8
    student = load_embedder(
        folder, precision="int8" if static else "auto", threads=options.threads,
        device=options.device,
    )  # fmt: skip
    replaced = plan.into or teacher
    served = load_embedder(
        replaced.path, prefix=replaced.prefix, max_length=options.max_length, cache=cache,
        threads=options.threads, device=options.device,
    )  # fmt: skip
    export = cache / ONNX_FOLDER / served.fingerprint
    expected = _reference(teacher, options).features(texts)
    if plan.into is not None:
        expected = StudentSpace.load(space_beside(folder))(expected)
    parity = compare(unit_length(expected[:, : student.dim]), student.encode(texts))
    accuracy = None
    if plan.examples is not None:
        accuracy = measure_accuracy(plan.examples, served, student, options, say)
        parity = replace(parity, metric_drop=accuracy.drop.value)
    embedders = {REPLACED: served, STUDENT: student}
    return Student(
        folder=folder, base=teacher, plan=plan, corpus=corpus, made=made, parity=parity,
        accuracy=accuracy, speed=measure_speed(embedders, texts), seconds=0.0,
        megabytes={
            REPLACED: megabytes_of(replaced.path, export), STUDENT: megabytes_of(folder)
        },
    )  # fmt: skip


def space_beside(folder: Path) -> Path:
    """Where what brings a wider teacher's views into the width of the student in `folder` lies,
    until it is written where it belongs."""
    return folder.with_name("space.safetensors")


def _reference(teacher: PretrainedEncoder, options: TrainOptions) -> Embedder:
    return load_embedder(
        teacher.path, precision="fp32", prefix=teacher.prefix, max_length=options.max_length,
        threads=options.threads, device=options.device,
    )  # fmt: skip
