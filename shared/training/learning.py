"""From labelled texts to fused classifiers: the fusion without fine-tuning first, then with it.

Fine-tuning has to earn its minutes. The fusion of the lexical and the frozen-dense scorer is always
trained; a fine-tuned encoder joins it only where it lowers the loss on rows that neither has seen.
The report then says what the minutes bought, also when it is nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shared.inference.classifier import FusedClassifier, Kind
from shared.inference.runtime import Embedder
from shared.modeling.encoder_folder import read_encoder_folder
from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training.adapters import finetuned_embedder
from shared.training.all_rows import finetune_again, may_go_again, refitted
from shared.training.batches import HeadTask
from shared.training.copies import copies_of
from shared.training.examples import Examples, split
from shared.training.finetune import few_labels, finetune_classifier
from shared.training.fusion import FusedFit, fit_fused
from shared.training.methods import Choice, choose_method
from shared.training.options import FineTuned, Method, TrainOptions

# Rows that fine-tuning does not learn from: early stopping and the fusion's weights use them.
DEVELOPMENT_SHARE = 0.12
PROBABILITY_FLOOR = 1e-7
# Texts on which the fine-tuned encoder as it is served must agree with itself in fp32.
PROBES = 400


@dataclass(frozen=True)
class HeadData:
    """What one classifier learns from. out_of_scope: texts it must refuse, if any are known.
    altered: altered copies of the examples teach it too (copies.py)."""

    name: str
    examples: Examples
    out_of_scope: tuple[str, ...] = ()
    altered: bool = False

    @property
    def kind(self) -> Kind:
        return self.examples.kind


@dataclass(frozen=True)
class Learned:
    """Trained classifiers, head by head.

    chosen: head -> what is to be served. frozen: head -> the fusion without fine-tuning, on all
    rows. encoder: folder of the fine-tuned encoder if any chosen head uses it. finetuned: the run,
    also when its encoder was not worth keeping. notes: for the report.
    """

    chosen: Mapping[str, FusedFit]
    frozen: Mapping[str, FusedFit]
    encoder: Path | None
    finetuned: FineTuned | None
    method: Method
    notes: tuple[str, ...]

    def classifier(self, head: str) -> FusedClassifier:
        return self.chosen[head].classifier


def learn(
    heads: Sequence[HeadData],
    *,
    base: PretrainedEncoder,
    embedder: Embedder,
    options: TrainOptions,
    folder: Path,
    say: Callable[[str], None],
) -> Learned:
    """Train a fused classifier for each head; fine-tune one encoder for all of them if asked for.

    embedder: of `base`. folder: where a fine-tuned encoder is written.

    Raises:
        DataError: too few labels or rows. ModelError: the encoder is broken.
    """
    threads = options.threads or 2
    frozen = {
        head.name: fit_fused(
            head.examples,
            embedder=embedder,
            out_of_scope=head.out_of_scope,
            copies=copies_of(head.examples, options.seed) if head.altered else (),
            kind=head.kind,
            seed=options.seed,
            threads=threads,
            say=say,
        )
        for head in heads
    }
    choice = _choice(heads, base, options)
    reason = f"method {choice.method.value}: {choice.reason}"
    if choice.method is Method.FROZEN:
        say(f"{reason}; the encoder stays as it is")
        return Learned(frozen, frozen, None, None, Method.FROZEN, (reason,))
    return _with_finetuning(heads, frozen, base, embedder, options, folder, say)


def _choice(heads: Sequence[HeadData], base: PretrainedEncoder, options: TrainOptions) -> Choice:
    if options.method == Method.AUTO and not read_encoder_folder(base.path).has_layers:
        return Choice(Method.FROZEN, "a static encoder has no layers to train")
    smallest = min(_smallest_label(head.examples) for head in heads)
    return choose_method(options.method, smallest_label=smallest, minutes=options.minutes)


def _with_finetuning(
    heads: Sequence[HeadData],
    frozen: Mapping[str, FusedFit],
    base: PretrainedEncoder,
    embedder: Embedder,
    options: TrainOptions,
    folder: Path,
    say: Callable[[str], None],
) -> Learned:
    parts = {
        head.name: split(head.examples, fraction=DEVELOPMENT_SHARE, seed=options.seed)
        for head in heads
    }
    tasks = [
        HeadTask(
            HeadSpec(head.name, head.kind, parts[head.name].train.names),
            parts[head.name].train,
            _known(parts[head.name].validation, parts[head.name].train.names),
        )
        for head in heads
    ]
    run = finetune_classifier(tasks, encoder=base, options=options, folder=folder, say=say)
    probes = [text for task in tasks for text in task.validation.texts][:PROBES]
    tuned_embedder = finetuned_embedder(
        run.folder, embedder=embedder, probes=probes, options=options, say=say
    )
    chosen: dict[str, FusedFit] = {}
    notes = [f"method {run.method}: {run.reason}; {run.stopped_because}"]
    for head in heads:
        part = parts[head.name]
        tuned = fit_fused(
            part.train,
            embedder=embedder,
            finetuned=tuned_embedder,
            validation=part.validation,
            out_of_scope=head.out_of_scope,
            copies=copies_of(part.train, options.seed) if head.altered else (),
            kind=head.kind,
            seed=options.seed,
            threads=options.threads or 2,
            say=say,
        )
        without = _loss_on(frozen[head.name], head.examples, part.validation)
        keep = tuned.fused.nll < without
        chosen[head.name] = tuned if keep else frozen[head.name]
        verdict = "kept" if keep else "not worth its minutes: left out"
        notes.append(
            f"{head.name}: loss on unseen rows {tuned.fused.nll:.3f} with fine-tuning, "
            f"{without:.3f} without: {verdict}"
        )
        say(notes[-1])
    kept = [head for head in heads if chosen[head.name].classifier.finetuned is not None]
    same = all(task.spec.labels == h.examples.names for task, h in zip(tasks, heads, strict=True))
    if kept and same and few_labels(tasks) and may_go_again(run, options):
        say("The encoder is kept, and rows are few: fine-tuning again, on all of them")
        whole = [replace(task, train=h.examples) for task, h in zip(tasks, heads, strict=True)]
        tuned_embedder = finetune_again(
            whole, run, base=base, embedder=embedder, options=options, probes=probes, say=say
        )
        for head in kept:
            chosen[head.name] = _on_all_rows(chosen[head.name], head, tuned_embedder, options)
        notes.append("fine-tuned again on all rows; probabilities are calibrated by the first run")
    return Learned(
        chosen, frozen, run.folder if kept else None, run, Method(run.method), tuple(notes)
    )


def _on_all_rows(fit: FusedFit, head: HeadData, tuned: Embedder, options: TrainOptions) -> FusedFit:
    return refitted(
        fit,
        tuned,
        head.examples,
        copies=copies_of(head.examples, options.seed) if head.altered else (),
        seed=options.seed,
        threads=options.threads or 2,
    )


def refit(head: HeadData, *, embedder: Embedder, options: TrainOptions) -> FusedFit:
    """The fusion without fine-tuning again, on other rows: after the report, on all there are."""
    return fit_fused(
        head.examples,
        embedder=embedder,
        out_of_scope=head.out_of_scope,
        copies=copies_of(head.examples, options.seed) if head.altered else (),
        kind=head.kind,
        seed=options.seed,
        threads=options.threads or 2,
    )


def _smallest_label(examples: Examples) -> int:
    return int(examples.targets(examples.names).sum(0).min())


def _known(examples: Examples, names: Sequence[str]) -> Examples:
    """Rows whose labels the training part has too: a head cannot be measured on others."""
    rows = [i for i, labels in enumerate(examples.labels) if set(labels) <= set(names)]
    return examples.take(np.asarray(rows, dtype=np.int64))


def _loss_on(fit: FusedFit, trained: Examples, part: Examples) -> float:
    """Mean negative log-likelihood (nats a row) of out-of-fold predictions on rows of `part`."""
    place = {text: row for row, text in enumerate(trained.texts)}
    rows = np.array([place[text] for text in part.texts], dtype=np.int64)
    held = fit.out_of_fold[rows]  # (m, C)
    targets = part.targets(fit.classifier.labels)
    measured = ~np.isnan(held).any(axis=1)
    p = np.clip(held[measured], PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    hit = targets[measured]
    if part.kind == "single":
        return float(-np.log(p[hit]).mean())
    return float(-np.where(hit, np.log(p), np.log(1 - p)).sum(axis=1).mean())
