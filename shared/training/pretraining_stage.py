"""What the objectives of pretraining share: a stage's task, its trainer's run and its report."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import Trainer, set_seed

from shared.atomic import write_text
from shared.modeling.encoder import Encoder
from shared.pretrained import PretrainedEncoder
from shared.training.corpus import Corpus
from shared.training.method_choice import Choice
from shared.training.methods import MethodRecipe, apply_method
from shared.training.options import FineTuned, Method, TrainOptions
from shared.training.progress import Stopwatch
from shared.training.run_results import checkpoints_of, conclude, count_parameters
from shared.training.runs import Arguments, fingerprint, run, training_arguments

BEFORE = "before.json"
Say = Callable[[str], None]
Figures = dict[str, float]


@dataclass(frozen=True)
class Trained:
    """One objective's run. before, after: of the held-out texts, by name; the weights kept are
    those of best_step."""

    objective: str
    before: Figures
    after: Figures
    best_step: int
    steps: int
    seconds: float
    stopped_because: str
    resumed_at_step: int | None


@dataclass(frozen=True)
class Stage:
    """One objective on one corpus. folder: of the encoder it writes."""

    objective: str
    metric: str
    recipe: MethodRecipe
    corpus: Corpus
    pretrained: PretrainedEncoder
    options: TrainOptions
    folder: Path
    say: Say
    clock: Callable[[], float] = time.monotonic

    @property
    def name(self) -> str:
        """Fingerprint of everything that decides the weights."""
        return fingerprint(
            self.options, self.pretrained.sha256, self.objective, self.recipe, self.corpus.sha256
        )

    @property
    def checkpoints(self) -> Path:
        return checkpoints_of(self.folder, self.options)

    def encoder(self) -> Encoder:
        """The encoder to begin with, all of it learning."""
        set_seed(self.options.seed)
        body = Encoder.from_pretrained(
            self.pretrained.path, self.pretrained.prefix, self.options.max_length
        )
        apply_method(body, Method.FULL, self.options)
        return body

    def arguments(self, kind: type[Arguments], **more: Any) -> Arguments:
        """The trainer's settings; the lower the metric, the better."""
        settings = {"greater_is_better": False, **more}
        return training_arguments(
            kind,
            self.recipe,
            self.options,
            folder=self.checkpoints,
            metric=self.metric,
            **settings,
        )

    def run(
        self,
        trainer: Trainer,
        model: nn.Module,
        body: Encoder,
        *,
        watch: Stopwatch,
        steps_per_epoch: int,
        start: Callable[[], Figures],
        measure: Callable[[], Figures],
    ) -> Trained:
        """Train, or go on, and write the encoder.

        start: what is done before the first step; gives the figures before. measure: those of the
        weights kept.
        """
        counts = count_parameters(model)

        def begin() -> None:
            write_text(self.checkpoints / BEFORE, json.dumps(start()))

        outcome = run(
            trainer,
            name=self.name,
            options=self.options,
            watch=watch,
            steps_per_epoch=steps_per_epoch,
            begin=begin,
            say=self.say,
        )
        before = json.loads((self.checkpoints / BEFORE).read_text())
        after = measure()
        body.to("cpu").save(self.folder)
        choice = Choice(Method.FULL, f"pretraining, {self.objective}")
        done = conclude(self.folder, choice, outcome, self.options, watch, self.metric, counts)
        return _trained(self.objective, before, after, done)


def _trained(objective: str, before: Figures, after: Figures, done: FineTuned) -> Trained:
    return Trained(
        objective=objective,
        before=before,
        after=after,
        best_step=done.best_step,
        steps=done.steps,
        seconds=done.seconds,
        stopped_because=done.stopped_because,
        resumed_at_step=done.resumed_at_step,
    )
