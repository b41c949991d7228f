"""From labelled texts to fused classifiers: the fusion without fine-tuning first, then with it.

Fine-tuning has to earn its minutes. The fusion of the lexical and the frozen-dense scorer is always
trained; a fine-tuned encoder joins it only where it lowers the loss on rows that neither has seen,
or, where these are few or another head keeps it anyway, does not raise it beyond noise.
The report then says what the minutes bought, also when it is nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shared.inference.runtime import Embedder
from shared.modeling.encoder_folder import read_encoder_folder
from shared.pretrained import PretrainedEncoder
from shared.training.budget import CallBudget, Share
from shared.training.examples import Examples
from shared.training.fusion import FusedFit, fit_fused
from shared.training.head_data import HeadData, Learned, copies_for
from shared.training.label_names import name_rows
from shared.training.method_choice import Choice, choose_method, has_few_labels
from shared.training.options import Method, TrainOptions


def learn(
    heads: Sequence[HeadData],
    *,
    base: PretrainedEncoder,
    embedder: Embedder,
    options: TrainOptions,
    folder: Path,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Learned:
    """Train a fused classifier for each head; fine-tune one encoder for all of them if asked for.

    embedder: of `base`. folder: where a fine-tuned encoder is written. clock: seconds, the one that
    `began` of the options was read off.

    Raises:
        DataError: too few labels or rows. ModelError: the encoder is broken.
    """
    budget = CallBudget.of(options, clock)
    tried = [_without_finetuning(head, embedder, options, say) for head in heads]
    frozen = {one.head.name: one.fit for one in tried}
    names = tuple(one.note for one in tried if one.note)
    share = budget.share()
    if budget.seconds is not None and options.method != Method.FROZEN:
        say(share.line(budget.seconds))
    choice = _choice(heads, base, options, share)
    reason = f"method {choice.method.value}: {choice.reason}"
    if choice.method is Method.FROZEN:
        say(f"{reason}; the encoder stays as it is")
        return Learned(frozen, frozen, None, None, Method.FROZEN, (reason, *names))
    from shared.training.learning_tuned import with_finetuning  # takes torch, seconds to import

    learned = with_finetuning(
        [one.head for one in tried], frozen, base, embedder, options, folder, say, budget, share
    )
    return replace(learned, notes=(*learned.notes, *names))


@dataclass(frozen=True)
class _Frozen:
    """A head with the fusion without fine-tuning, and what its labels' names did for it."""

    head: HeadData
    fit: FusedFit
    note: str = ""


def _without_finetuning(
    head: HeadData, embedder: Embedder, options: TrainOptions, say: Callable[[str], None]
) -> _Frozen:
    """Where rows are few, the labels' names teach too if that lowers the loss on held-out rows."""
    plain = _fusion_of(head, embedder, options, say)
    few = has_few_labels(len(head.examples), len(head.examples.names))
    rows = name_rows(head.examples) if few else None
    if rows is None:
        return _Frozen(head, plain)
    named = replace(head, named=rows)
    fit = _fusion_of(named, embedder, options, say)
    before, after = float(plain.losses.mean()), float(fit.losses.mean())
    kept = after < before
    note = (
        f"{head.name}: the names of {len(rows)} labels, as a row each, moved the loss on held-out "
        f"rows from {before:.3f} to {after:.3f}: {'kept' if kept else 'left out'}"
    )
    say(note)
    return _Frozen(named, fit, note) if kept else _Frozen(head, plain, note)


def _fusion_of(
    head: HeadData, embedder: Embedder, options: TrainOptions, say: Callable[[str], None]
) -> FusedFit:
    return fit_fused(
        head.examples,
        embedder=embedder,
        out_of_scope=head.out_of_scope,
        copies=copies_for(head, head.examples, options),
        named=head.named,
        kind=head.kind,
        seed=options.seed,
        threads=options.threads or 2,
        say=say,
    )


def _choice(
    heads: Sequence[HeadData], base: PretrainedEncoder, options: TrainOptions, share: Share
) -> Choice:
    if options.method == Method.AUTO and not read_encoder_folder(base.path).has_layers:
        return Choice(Method.FROZEN, "a static encoder has no layers to train")
    smallest = min(_smallest_label(head.examples) for head in heads)
    return choose_method(options.method, smallest_label=smallest, minutes=share.minutes)


def refit(head: HeadData, *, embedder: Embedder, options: TrainOptions) -> FusedFit:
    """The fusion without fine-tuning again, on other rows: after the report, on all there are."""
    return _without_finetuning(head, embedder, options, lambda _: None).fit


def _smallest_label(examples: Examples) -> int:
    return int(examples.targets(examples.names).sum(0).min())
