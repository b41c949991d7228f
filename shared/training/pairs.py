"""Fine-tuning on pairs: an encoder that brings partners together, and a scorer of pairs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from sentence_transformers import (
    CrossEncoder,
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.cross_encoder.evaluation import (
    CrossEncoderClassificationEvaluator,
    CrossEncoderCorrelationEvaluator,
)
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from torch import nn
from transformers import Trainer, set_seed

from shared.errors import DataError, SettingsError
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import read_encoder_folder
from shared.modeling.text_model import TextModel
from shared.pretrained import PretrainedEncoder
from shared.training import processes
from shared.training.adapters import save_trained
from shared.training.budget import Share
from shared.training.checkpoints import LearnedCheckpoints
from shared.training.machine import training_conditions
from shared.training.method_choice import Choice
from shared.training.methods import (
    MATCHING_METHODS,
    MethodRecipe,
    apply_method,
    parameter_groups,
    scoring_recipe,
)
from shared.training.options import FineTuned, Method, TrainOptions
from shared.training.pair_models import (
    PAIR_HEAD,
    EncoderInput,
    PairInput,
    WeightedRankingLoss,
)
from shared.training.progress import Stopwatch
from shared.training.run_results import Outcome, checkpoints_of, conclude, count_parameters
from shared.training.runs import Arguments, GivenGroups, fingerprint, run, training_arguments

# Pairs of the validation part that are measured at each evaluation: enough for a standard error
# of one point, and an evaluation stays a small part of an epoch.
MEASURED_PAIRS = 2000
# Batches above this are computed in chunks whose activations are not all held at once.
UNCACHED_BATCH = 128
SCALE = 20.0  # 1 / temperature, so a temperature of .05
MATCH_METRIC = "cosine_mrr@10"


@dataclass(frozen=True)
class Pairs:
    """Texts that belong together. negatives: (n,) one text each that does not belong, or none.

    weights: (n,) how much each pair counts, any positive scale, or none: all alike.
    Raises DataError when lengths differ, a text is empty or a weight is not positive.
    """

    anchors: tuple[str, ...]
    positives: tuple[str, ...]
    negatives: tuple[str, ...] | None = None
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        columns = [self.anchors, self.positives, self.negatives or self.anchors]
        _check_texts(columns, len(self.weights) if self.weights is not None else None)
        if self.weights is not None and min(self.weights, default=1.0) <= 0:
            raise DataError(f"a pair has the weight {min(self.weights)}: expected more than 0")

    def __len__(self) -> int:
        return len(self.anchors)


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of texts with how well they match, 0..1.

    Raises DataError when lengths differ, a text is empty or a score lies outside.
    """

    lefts: tuple[str, ...]
    rights: tuple[str, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        _check_texts([self.lefts, self.rights], len(self.scores))
        for row, score in enumerate(self.scores, start=1):
            if not 0 <= score <= 1:
                raise DataError(f"pair {row} has the score {score}: expected 0 to 1")

    def __len__(self) -> int:
        return len(self.lefts)


def finetune_matcher(
    pairs: Pairs,
    validation: Pairs,
    *,
    encoder: PretrainedEncoder,
    options: TrainOptions,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    share: Share | None = None,
) -> FineTuned:
    """Train an encoder so that a text lies nearest to its partner; write it into `folder`.

    The other texts of a batch serve as negatives, beside the given ones; no batch holds a text
    twice. The checkpoint kept is the one with the best MRR@10 of finding a validation pair's
    positive among all positives of the validation part. share: what this run gets of a call, by
    default `minutes` of the options.

    Raises:
        DataError: an empty part. SettingsError: the method frozen, which leaves nothing to learn.
        ModelError: the encoder is broken, or the method does not know its architecture.
    """
    job = _Job(pairs, validation, encoder, options, folder, Stopwatch(clock), say, share)
    with training_conditions(options):
        body = job.encoder()
        model = SentenceTransformer(modules=[EncoderInput(body)], device="cpu")
        trainer = _matcher_trainer(model, job)
        outcome = job.run(trainer)
        counts = count_parameters(body)
        save_trained(body, encoder, folder)
    return job.conclude(outcome, MATCH_METRIC, counts)


def finetune_pair_scorer(
    pairs: ScoredPairs,
    validation: ScoredPairs,
    *,
    encoder: PretrainedEncoder,
    options: TrainOptions,
    folder: Path,
    say: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> FineTuned:
    """Train a model that reads two texts together and says how well they match.

    `folder` gets a TextModel with one head, "match": the logit of its one label is the score.
    Kept is the checkpoint with the best average precision on the validation part where its scores
    are 0 and 1, else the best rank correlation.

    Raises: as finetune_matcher.
    """
    job = _Job(pairs, validation, encoder, options, folder, Stopwatch(clock), say)
    with training_conditions(options):
        scorer = TextModel(job.encoder(), [PAIR_HEAD])
        model = CrossEncoder(modules=[PairInput(scorer)], device="cpu")
        trainer, metric = _scorer_trainer(model, validation, job)
        outcome = job.run(trainer)
        counts = count_parameters(scorer)
        save_trained(scorer, encoder, folder)
    return job.conclude(outcome, metric, counts)


class _NoModelCard:
    """Trainer mixin: the library's card, computed with a bar on standard error, is not wanted."""

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:  # noqa: ARG002
        return


class MatcherTrainer(
    _NoModelCard,
    GivenGroups,
    LearnedCheckpoints,
    SentenceTransformerTrainer,  # type: ignore[misc]
):
    """sentence-transformers' trainer with our checkpoints and learning rates by layer."""


class ScorerTrainer(
    _NoModelCard,
    GivenGroups,
    LearnedCheckpoints,
    CrossEncoderTrainer,  # type: ignore[misc]
):
    """The cross-encoder's, likewise."""


@dataclass(frozen=True)
class _Job:
    """What both kinds of run share."""

    pairs: Pairs | ScoredPairs
    validation: Pairs | ScoredPairs
    pretrained: PretrainedEncoder
    options: TrainOptions
    folder: Path
    watch: Stopwatch
    say: Callable[[str], None]
    share: Share | None = None

    def __post_init__(self) -> None:
        for part, name in ((self.pairs, "training"), (self.validation, "validation")):
            if not len(part):
                raise DataError(f"no pair in the {name} part: nothing can be learned or measured")
        if processes.world_size() > 1:
            raise SettingsError(
                f"{processes.world_size()} processes: fine-tuning on pairs runs in one, for the "
                "other texts of a batch are its negatives; leave out torchrun and --processes"
            )
        self.say(f"Method: {self.choice.method.value}, {self.choice.reason}")

    @property
    def choice(self) -> Choice:
        if self.options.method == Method.FROZEN:
            raise SettingsError(
                "method = 'frozen': a frozen encoder has nothing to learn from pairs; "
                "use full, lora or auto"
            )
        if self.options.method == Method.AUTO:
            return Choice(Method.FULL, "pairs teach the whole encoder")
        return Choice(Method(self.options.method), "asked for")

    @property
    def recipe(self) -> MethodRecipe:
        if isinstance(self.pairs, Pairs):
            return MATCHING_METHODS[self.choice.method]
        return scoring_recipe(self.choice.method, read_encoder_folder(self.pretrained.path).dim)

    def encoder(self) -> Encoder:
        set_seed(self.options.seed)
        body = Encoder.from_pretrained(
            self.pretrained.path, self.pretrained.prefix, self.options.max_length
        )
        apply_method(body, self.choice.method, self.options)
        return body

    def arguments(self, kind: type[Arguments], metric: str, **more: Any) -> Arguments:
        return training_arguments(
            kind,
            self.recipe,
            self.options,
            folder=checkpoints_of(self.folder, self.options),
            metric=metric,
            **more,
        )

    def run(self, trainer: Trainer) -> Outcome:
        return run(
            trainer,
            name=fingerprint(
                self.options,
                self.pretrained.sha256,
                self.choice.method,
                self.pairs,
                self.validation,
            ),
            options=self.options,
            watch=self.watch,
            steps_per_epoch=len(trainer.get_train_dataloader()),
            begin=lambda: None,
            say=self.say,
            share=self.share,
        )

    def conclude(self, outcome: Outcome, metric: str, counts: tuple[int, int]) -> FineTuned:
        return conclude(self.folder, self.choice, outcome, self.options, self.watch, metric, counts)


def _matcher_trainer(model: SentenceTransformer, job: _Job) -> MatcherTrainer:
    assert isinstance(job.pairs, Pairs)
    assert isinstance(job.validation, Pairs)
    columns: dict[str, Any] = {"anchor": job.pairs.anchors, "positive": job.pairs.positives}
    if job.pairs.negatives is not None:
        columns["negative"] = job.pairs.negatives
    if job.pairs.weights is not None:
        mean = sum(job.pairs.weights) / len(job.pairs)
        columns["label"] = [weight / mean for weight in job.pairs.weights]
    arguments = job.arguments(
        SentenceTransformerTrainingArguments,
        MATCH_METRIC,
        batch_sampler=BatchSamplers.NO_DUPLICATES,
    )
    trainer = MatcherTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict(columns),
        loss=_matching_loss(model, job.pairs, arguments.train_batch_size),
        evaluator=retrieval_of(job.validation),
        groups=parameter_groups(model, job.recipe, job.options),
    )
    trainer.evaluation_rows = 2 * min(len(job.validation), MEASURED_PAIRS)
    return trainer


def _matching_loss(model: SentenceTransformer, pairs: Pairs, batch_size: int) -> nn.Module:
    loss: nn.Module = MultipleNegativesRankingLoss(model, scale=SCALE)
    if pairs.weights is not None:
        loss = WeightedRankingLoss(model, scale=SCALE)
    elif batch_size > UNCACHED_BATCH:
        loss = CachedMultipleNegativesRankingLoss(
            model, scale=SCALE, mini_batch_size=UNCACHED_BATCH // 2
        )
    return loss


def retrieval_of(pairs: Pairs) -> InformationRetrievalEvaluator:
    """Finding the positives of the first pairs' anchors among their positives, each text once."""
    corpus = {
        text: str(at) for at, text in enumerate(dict.fromkeys(pairs.positives[:MEASURED_PAIRS]))
    }
    wanted: dict[str, set[str]] = {}
    for anchor, positive in zip(pairs.anchors, pairs.positives[:MEASURED_PAIRS], strict=False):
        wanted.setdefault(anchor, set()).add(corpus[positive])
    return InformationRetrievalEvaluator(
        queries={f"q{at}": anchor for at, anchor in enumerate(wanted)},
        corpus={number: text for text, number in corpus.items()},
        relevant_docs={f"q{at}": found for at, found in enumerate(wanted.values())},
        mrr_at_k=[10],
        ndcg_at_k=[10],
        accuracy_at_k=[1, 10],
        precision_recall_at_k=[10],
        map_at_k=[10],
        batch_size=64,
        show_progress_bar=False,
        write_csv=False,
    )


def _scorer_trainer(
    model: CrossEncoder, validation: ScoredPairs, job: _Job
) -> tuple[ScorerTrainer, str]:
    assert isinstance(job.pairs, ScoredPairs)
    pairs = list(zip(validation.lefts, validation.rights, strict=True))[:MEASURED_PAIRS]
    scores = list(validation.scores)[:MEASURED_PAIRS]
    settings = {"batch_size": 64, "show_progress_bar": False, "write_csv": False}
    if set(scores) == {0.0, 1.0}:
        metric = "average_precision"
        evaluator = CrossEncoderClassificationEvaluator(pairs, [int(s) for s in scores], **settings)
    else:
        metric = "spearman"
        evaluator = CrossEncoderCorrelationEvaluator(pairs, scores, **settings)
    trainer = ScorerTrainer(
        model=model,
        args=job.arguments(CrossEncoderTrainingArguments, metric),
        train_dataset=datasets.Dataset.from_dict(
            {"left": job.pairs.lefts, "right": job.pairs.rights, "label": job.pairs.scores}
        ),
        loss=BinaryCrossEntropyLoss(model),
        evaluator=evaluator,
        groups=parameter_groups(model, job.recipe, job.options),
    )
    trainer.evaluation_rows = len(pairs)
    return trainer, metric


def _check_texts(columns: Sequence[Sequence[str]], extra: int | None) -> None:
    lengths = [len(column) for column in columns] + ([] if extra is None else [extra])
    if len(set(lengths)) > 1:
        raise DataError(f"pairs of unequal columns: {', '.join(map(str, lengths))} entries")
    for row, texts in enumerate(zip(*columns, strict=True), start=1):
        if any(not text.strip() for text in texts):
            raise DataError(f"pair {row} has an empty text: give it a text or remove the pair")
