"""Fused classifiers with a fine-tuned encoder, where it is worth its minutes. It takes torch, which
learning.py leaves alone where nothing is fine-tuned.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from shared.inference.runtime import Embedder
from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training.adapters import finetuned_embedder
from shared.training.batches import HeadTask
from shared.training.budget import CallBudget, Share
from shared.training.examples import Examples, split
from shared.training.finetune import few_labels, finetune_classifier, pairable
from shared.training.further_rows import (
    EPOCHS_SHARE,
    FIRST,
    LAST,
    FurtherRuns,
    lengths_of,
    refitted,
    sure_labels,
)
from shared.training.fusion import FusedFit, fit_fused
from shared.training.head_data import HeadData, Learned, copies_for
from shared.training.method_choice import settled
from shared.training.options import Method, TrainOptions
from shared.training.pseudo_labels import Pool
from shared.training.worth import losses_on, worth_it

# Rows that fine-tuning does not learn from: early stopping and the fusion's weights use them.
DEVELOPMENT_SHARE = 0.12
# Texts on which the fine-tuned encoder as it is served must agree with itself in fp32.
PROBES = 400


def with_finetuning(
    heads: Sequence[HeadData],
    frozen: Mapping[str, FusedFit],
    base: PretrainedEncoder,
    embedder: Embedder,
    options: TrainOptions,
    folder: Path,
    say: Callable[[str], None],
    budget: CallBudget,
    share: Share,
) -> Learned:
    """budget: of the call. share: what the first run gets of it."""
    tasks = tasks_of(heads, fraction=DEVELOPMENT_SHARE, seed=options.seed)
    few = few_labels(tasks)
    # Decided before any row is added: names and pseudo-labels make no label a known one.
    options = settled(options, few=few, pairable=pairable(tasks))
    tasks = [
        replace(task, train=task.train.beside(head.named))
        for head, task in zip(heads, tasks, strict=True)
    ]
    pools = {
        head.name: Pool.of(head.examples.beside(head.named), head.unlabelled)
        for head in heads
        if few and head.unlabelled and head.kind == "single"
    }
    same = all(task.spec.labels == h.examples.names for task, h in zip(tasks, heads, strict=True))
    # The last weights of a run on all rows are kept: there is no row left to choose the best by.
    further = same and few and options.keep != "best"
    if further:
        share = replace(
            share,
            further=lengths_of(tasks, list(pools.values())),
            what="runs on unlabelled texts and on all rows" if pools else "a run on all rows",
        )
    began = budget.clock()
    run = finetune_classifier(
        tasks, encoder=base, options=options, folder=folder, say=say, clock=budget.clock,
        share=share,
    )  # fmt: skip
    ended = budget.clock()
    probes = [text for task in tasks for text in task.validation.texts][:PROBES]
    encoder = finetuned_embedder(
        run.folder, embedder=embedder, probes=probes, options=options, say=say
    )
    tuned = {
        head.name: _fitted(head, task, encoder, embedder, options, say)
        for head, task in zip(heads, tasks, strict=True)
    }
    chosen, worth = _worthy(heads, tasks, frozen, tuned, few, say)
    notes = [f"method {run.method}: {run.reason}; {run.stopped_because}", *worth]
    kept = [head for head in heads if chosen[head.name].classifier.finetuned is not None]
    more: tuple[_More, ...] = ()
    if kept and further:
        each = budget.clock() - ended
        runs = FurtherRuns(
            run, base, embedder, options, probes, say, budget, each,
            after=max(0.0, share.after - each), earlier=max(0.0, run.seconds - (ended - began)),
        )  # fmt: skip
        more = _further(heads, kept, chosen, tasks, pools, runs)
    return Learned(
        chosen=chosen | {name: fit for one in more for name, fit in one.chosen.items()},
        frozen=frozen,
        encoder=run.folder if kept else None,
        finetuned=run,
        method=Method(run.method),
        notes=(*notes, *(one.note for one in more)),
        pseudo={name: count for one in more for name, count in one.pseudo.items()},
    )


def _worthy(
    heads: Sequence[HeadData],
    tasks: Sequence[HeadTask],
    frozen: Mapping[str, FusedFit],
    tuned: Mapping[str, FusedFit],
    few: bool,
    say: Callable[[str], None],
) -> tuple[dict[str, FusedFit], list[str]]:
    """The fits to be served, with fine-tuning where that is worth it, and what is said of it."""
    without = {
        head.name: losses_on(frozen[head.name], head.examples, task.validation)
        for head, task in zip(heads, tasks, strict=True)
    }
    losses = {name: fit.losses for name, fit in tuned.items()}
    worth = {name for name in tuned if worth_it(losses[name], without[name], few=few)}
    if worth:
        # The encoder reads each text anyway: a head that it serves as well need not ask the base.
        worth |= {name for name in tuned if worth_it(losses[name], without[name], few=True)}
    notes: list[str] = []
    for name in tuned:
        before, after = float(np.nanmean(without[name])), float(losses[name].mean())
        verdict = _verdict(before, after) if name in worth else "not worth its minutes: left out"
        notes.append(
            f"{name}: loss on unseen rows {after:.3f} with fine-tuning, "
            f"{before:.3f} without: {verdict}"
        )
        say(notes[-1])
    return {name: tuned[name] if name in worth else frozen[name] for name in tuned}, notes


def _fitted(
    head: HeadData,
    task: HeadTask,
    tuned: Embedder,
    embedder: Embedder,
    options: TrainOptions,
    say: Callable[[str], None],
) -> FusedFit:
    """The fusion with the encoder that was fine-tuned on the task."""
    fit = fit_fused(
        task.train,
        embedder=embedder,
        finetuned=tuned,
        validation=task.validation,
        out_of_scope=head.out_of_scope,
        copies=copies_for(head, task.train, options),
        kind=head.kind,
        seed=options.seed,
        threads=options.threads or 2,
        say=say,
    )
    # Of the head's rows, as everywhere, and none of them has a prediction out of fold.
    none = np.full((len(head.examples), len(fit.classifier.labels)), np.nan, dtype=np.float32)
    return replace(fit, out_of_fold=none)


def _verdict(before: float, after: float) -> str:
    """On something that is kept."""
    return "kept" if after < before else "no more than noise, kept"


@dataclass(frozen=True)
class _More:
    """What a further run brought. chosen: the fits that are to be served instead, if any. pseudo:
    head -> unlabelled texts that taught it, if they helped."""

    note: str
    chosen: Mapping[str, FusedFit] = field(default_factory=dict)
    pseudo: dict[str, int] = field(default_factory=dict)


def _further(
    heads: Sequence[HeadData],
    kept: Sequence[HeadData],
    chosen: Mapping[str, FusedFit],
    tasks: Sequence[HeadTask],
    pools: Mapping[str, Pool],
    runs: FurtherRuns,
) -> tuple[_More, ...]:
    """What each further run brought, in order: on unlabelled texts, where there are some, and on
    all rows."""
    own = {head.name: pools[head.name] for head in kept if head.name in pools}
    if not own:
        return (_with_all_rows(heads, kept, chosen, tasks, {}, runs),)
    found = _with_sure_texts(kept, chosen, tasks, own, runs)
    runs.say(found.note)
    helpful = {name: pool for name, pool in own.items() if name in found.pseudo}
    again = _with_all_rows(heads, kept, {**chosen, **found.chosen}, tasks, helpful, runs)
    return found, again


def _with_sure_texts(
    kept: Sequence[HeadData],
    chosen: Mapping[str, FusedFit],
    tasks: Sequence[HeadTask],
    pools: Mapping[str, Pool],
    further: FurtherRuns,
) -> _More:
    """Fine-tune on what the fusions are sure of as well; left out where that is worse, beyond
    noise, on rows that no encoder has seen."""
    before = {task.spec.name: task for task in tasks}
    sure = {
        name: sure_labels(chosen[name].classifier, pool, before[name].train, FIRST)
        for name, pool in pools.items()
    }
    added = sum(map(len, sure.values()))
    if not added:
        return _More("unlabelled texts: none was sure enough to learn from")
    more = before | {
        name: replace(before[name], train=pools[name].beside(before[name].train, found))
        for name, found in sure.items()
    }
    rows = sum(len(task.train) for task in tasks)
    if not further.fit(EPOCHS_SHARE * (rows + added) / rows):
        return _More(f"unlabelled texts: no time is left to learn from {added}")
    folder, encoder = further.tuned(list(more.values()), "more", epochs=further.shorter_epochs)
    fits = {
        head.name: _fitted(
            head, more[head.name], encoder, further.embedder, further.options, further.say
        )
        for head in kept
    }
    before_more, after_more = (
        np.concatenate([some[head.name].losses for head in kept]) for some in (chosen, fits)
    )
    old, new = float(before_more.mean()), float(after_more.mean())
    if not worth_it(after_more, before_more, few=True):
        shutil.rmtree(folder)
        return _More(
            f"unlabelled texts: {added} would have moved the loss on unseen rows from {old:.3f} "
            f"to {new:.3f}: left out"
        )
    further.take_place(folder)
    note = (
        f"unlabelled texts: {added}, labelled where the model was sure, moved the loss on unseen "
        f"rows from {old:.3f} to {new:.3f}: {_verdict(old, new)}"
    )
    return _More(note, fits, {name: len(found) for name, found in sure.items()})


def _with_all_rows(
    heads: Sequence[HeadData],
    kept: Sequence[HeadData],
    chosen: Mapping[str, FusedFit],
    tasks: Sequence[HeadTask],
    pools: Mapping[str, Pool],
    further: FurtherRuns,
) -> _More:
    """The kept fits with an encoder and scorers of all rows, pools as in the run before; none of
    it where there is no time."""
    rows = {head.name: head.examples.beside(head.named) for head in heads}
    for name, pool in pools.items():
        sure = sure_labels(chosen[name].classifier, pool, rows[name], LAST)
        rows[name] = pool.beside(rows[name], sure)
    times = sum(map(len, rows.values())) / sum(len(task.train) for task in tasks)
    if not further.fit(EPOCHS_SHARE * times if pools else times):
        return _More("no time is left to fine-tune again on all rows")
    further.say("The encoder is kept, and rows are few: fine-tuning again, on all of them")
    folder, encoder = further.tuned(
        [replace(task, train=rows[task.spec.name]) for task in tasks],
        "again",
        epochs=further.shorter_epochs if pools else None,
    )
    further.take_place(folder)
    options = further.options
    fits = {
        head.name: refitted(
            chosen[head.name],
            encoder,
            rows[head.name],
            known=len(head.examples),
            copies=copies_for(head, head.examples, options),
            seed=options.seed,
            threads=options.threads or 2,
        )
        for head in kept
    }
    return _More("fine-tuned again on all rows; probabilities are calibrated before that", fits)


def tasks_of(heads: Sequence[HeadData], *, fraction: float, seed: int) -> list[HeadTask]:
    """Each head's rows cut in two, near duplicates on one side: to learn from, and to judge on as
    far as their labels can be learned. fraction: of the second part."""
    tasks: list[HeadTask] = []
    for head in heads:
        parts = split(head.examples, fraction=fraction, seed=seed)
        spec = HeadSpec(head.name, head.kind, parts.train.names)
        tasks.append(HeadTask(spec, parts.train, _known(parts.validation, spec.labels)))
    return tasks


def _known(examples: Examples, names: Sequence[str]) -> Examples:
    """Rows whose labels the training part has too: a head cannot be measured on others."""
    rows = [i for i, labels in enumerate(examples.labels) if set(labels) <= set(names)]
    return examples.take(np.asarray(rows, dtype=np.int64))
