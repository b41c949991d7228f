"""Pretraining on a house's own unlabelled texts: a base encoder in, an encoder folder out.

What comes out is an encoder like any other: `--base DIR` takes it. Beside the weights lies a
manifest of what it was made from and of what was measured on held-out texts.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.modeling.encoder import Encoder
from shared.pretrained import PretrainedEncoder, resolve
from shared.training import contrastive, masked_language
from shared.training.batches import encode, tokenise
from shared.training.corpus import Corpus
from shared.training.encoder_work import (
    check_free,
    check_one_process,
    once,
    origin_of,
    publish,
)
from shared.training.machine import machine_of, training_conditions
from shared.training.methods import MethodRecipe
from shared.training.options import Method, PretrainingObjective, TrainOptions
from shared.training.pretraining_stage import Say, Stage, Trained

MANIFEST = "pretraining.json"
NEIGHBOURS = 10
COMPARED_TEXTS = 500


@dataclass(frozen=True)
class _Teacher:
    metric: str
    recipe: MethodRecipe
    teach: Callable[[Stage], Trained]


_TEACHERS: Mapping[PretrainingObjective, _Teacher] = {
    PretrainingObjective.MLM: _Teacher(
        masked_language.METRIC, masked_language.RECIPE, masked_language.pretrain_masked
    ),
    PretrainingObjective.CONTRASTIVE: _Teacher(
        contrastive.METRIC, contrastive.RECIPE, contrastive.pretrain_contrastive
    ),
}
# Guessing words bends the sentence vectors out of shape, and the contrastive objective mends them.
_STAGES: Mapping[PretrainingObjective, tuple[PretrainingObjective, ...]] = {
    PretrainingObjective.MLM: (PretrainingObjective.MLM,),
    PretrainingObjective.CONTRASTIVE: (PretrainingObjective.CONTRASTIVE,),
    PretrainingObjective.BOTH: (PretrainingObjective.MLM, PretrainingObjective.CONTRASTIVE),
}


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining. neighbours_kept: of the NEIGHBOURS nearest held-out texts of a
    held-out text by the base's vectors, the mean share that is still among them, 0..1."""

    folder: Path
    base: PretrainedEncoder
    objective: PretrainingObjective
    corpus: Corpus
    stages: tuple[Trained, ...]
    neighbours_kept: float
    seconds: float

    def manifest(self, options: TrainOptions) -> dict[str, Any]:
        """For a file beside the weights."""
        corpus = self.corpus
        return {
            "objective": self.objective.value,
            "base": origin_of(self.base),
            "data": {
                "sha256": corpus.sha256,
                "read": corpus.read,
                "empty": corpus.empty,
                "near_duplicates": corpus.duplicates,
                "train": len(corpus.train),
                "held_out": len(corpus.held_out),
            },
            "stages": [asdict(stage) for stage in self.stages],
            "neighbours_kept": self.neighbours_kept,
            "seconds": self.seconds,
            "seed": options.seed,
            "minutes": options.minutes,
            "libraries": {
                name: version(name) for name in ("torch", "transformers", "sentence-transformers")
            },
        }


def pretraining_options(options: TrainOptions) -> TrainOptions:
    """The options with what holds for every pretraining: the whole encoder learns, its words'
    vectors and lower layers no less than the top."""
    return replace(options, method=Method.FULL.value, freeze_embeddings=False, layer_decay=1.0)


def pretrain(
    corpus: Corpus,
    *,
    encoder: PretrainedEncoder,
    objective: PretrainingObjective,
    options: TrainOptions,
    folder: Path,
    say: Say = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Pretrained:
    """Go on training `encoder` on the corpus; write what comes out into `folder`.

    The weights kept are those of the evaluation with the lowest loss on the held-out texts, even
    where that is not below the loss before: the caller tells by the figures. A call that was cut
    off goes on when it is made again. options.minutes is shared out evenly among the stages.

    Raises:
        DataError: `folder` is there already, or the texts hold no words.
        SettingsError: under several processes. ModelError: an encoder that cannot learn this way.
    """
    check_free(folder)
    check_one_process("pretraining")
    names = _STAGES[objective]
    options = pretraining_options(options)
    if options.minutes is not None:
        options = replace(options, minutes=options.minutes / len(names))
    work = folder.with_name(f"{folder.name}.pretraining")
    started = clock()
    latest, stages = encoder, list[Trained]()
    with training_conditions(options):
        for name in names:
            teacher = _TEACHERS[name]
            stage = Stage(
                name.value, teacher.metric, teacher.recipe, corpus, latest, options,
                work / name.value, say, clock,
            )  # fmt: skip
            stages.append(_taught(stage, teacher))
            latest = replace(resolve(str(stage.folder), cache=work), licence=encoder.licence)
        kept = neighbours_kept(encoder, latest, corpus.held_out[:COMPARED_TEXTS], options)
    done = Pretrained(folder, encoder, objective, corpus, tuple(stages), kept, clock() - started)
    publish(
        latest.path, folder, work=work, manifest=done.manifest(options), name=MANIFEST,
        source=f"{encoder.name}, pretrained further on unlabelled texts", licence=encoder.licence,
    )  # fmt: skip
    return done


def _taught(stage: Stage, teacher: _Teacher) -> Trained:
    """The stage's report, of an earlier call where that came to the stage's end."""
    record = stage.folder.with_name(f"{stage.folder.name}.json")
    made, earlier = once(record, stage.name, stage.folder, lambda: asdict(teacher.teach(stage)))
    if earlier:
        stage.say(f"The objective {stage.objective} was finished by an earlier call")
    return Trained(**made)


def neighbours_kept(
    before: PretrainedEncoder, after: PretrainedEncoder, texts: Sequence[str], options: TrainOptions
) -> float:
    """Mean share of each text's NEIGHBOURS nearest others (fewer where there are fewer) that both
    encoders agree on, 0..1; two that have nothing in common agree on about NEIGHBOURS / n."""
    return shared_neighbours(
        *(_unit_vectors(encoder, texts, options) for encoder in (before, after))
    )


def shared_neighbours(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """Of two (n, dim) arrays of unit vectors of the same n texts, n at least 2."""
    count = min(NEIGHBOURS, len(one) - 1)
    nearest = []
    for vectors in (one, two):
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -np.inf)
        nearest.append(np.argsort(-cosines, axis=1, kind="stable")[:, :count])
    agreed = [len(set(a) & set(b)) for a, b in zip(*nearest, strict=True)]
    return float(np.mean(agreed)) / count


def _unit_vectors(
    found: PretrainedEncoder, texts: Sequence[str], options: TrainOptions
) -> NDArray[np.float32]:
    encoder = Encoder.from_pretrained(found.path, found.prefix, options.max_length)
    vectors = encode(encoder, tokenise(encoder, texts), machine=machine_of(options))
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
