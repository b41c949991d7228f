"""A sentence-level objective on unlabelled texts: a text lies nearest to itself with words missing.

TSDAE, the other objective of the field, rebuilds a text from its vector with a decoder made of the
same pretrained language model. The encoders here come without a head and without a decoder, and one
that begins with random cross-attention needs far more texts than a firm has. A contrastive loss
needs nothing but the encoder, and pulls at the very vectors that are used: mean-pooled, by cosine.

Source: Gao et al. 2021, SimCSE, section 3: the other texts of a batch are the negatives, and the
two sides of a pair also differ by dropout. There, dropout alone was the best noise for an encoder
that had not learned from sentences yet. One that has, tells a text from others at once, and would
have nothing left to learn: here words are missing as well.
"""

import re
from collections.abc import Sequence

import datasets
import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import BatchSamplers
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch.nn import functional

from shared.inference.lexical import CJK
from shared.training.methods import MethodRecipe, parameter_groups
from shared.training.pair_models import EncoderInput
from shared.training.pairs import SCALE, MatcherTrainer
from shared.training.pretraining_stage import Figures, Stage, Trained
from shared.training.progress import Stopwatch

METRIC = "contrastive_loss"
# The field's customs (SimCSE, appendix A), not measured here.
RECIPE = MethodRecipe(epochs=1, batch_size=64, learning_rate=3e-5, head_learning_rate=3e-5)
MISSING_SHARE = 0.3  # of the words of a text; not measured here
ENCODED_AT_ONCE = 64
_WORD = re.compile(rf"[{CJK}]|[^\s{CJK}]+")


def with_words_missing(text: str, rng: np.random.Generator) -> str:
    """The text without a random MISSING_SHARE of its words, rounded up; one at least stays.

    Where a script is written without spaces, its characters count as words. Source of the noise:
    Wang, Reimers and Gurevych 2021, TSDAE, section 3, with a smaller share.
    """
    words = list(_WORD.finditer(text))
    missing = min(len(words) - 1, int(np.ceil(MISSING_SHARE * len(words))))
    if missing < 1:
        return text
    gone = set(rng.choice(len(words), size=missing, replace=False).tolist())
    kept, end = [], 0
    for at, word in enumerate(words):
        kept.append(text[end : word.start()])
        if at not in gone:
            kept.append(word.group())
        end = word.end()
    return " ".join("".join(kept).split())


class HeldOutLoss(SentenceEvaluator):  # type: ignore[misc]
    """Finding each held-out text from itself with words missing, always the same ones.

    contrastive_loss: mean cross entropy in nats over all held-out texts, at the training's scale;
    ln(n) where the vectors tell nothing. found_first: share of texts that are the nearest.
    """

    def __init__(self, texts: Sequence[str], *, seed: int) -> None:
        super().__init__()
        self.texts = list(texts)
        self.noised = [
            with_words_missing(text, np.random.default_rng([seed, 1, row]))
            for row, text in enumerate(texts)
        ]
        self.primary_metric = METRIC

    def __call__(
        self,
        model: SentenceTransformer,
        output_path: str | None = None,  # noqa: ARG002
        epoch: int = -1,  # noqa: ARG002
        steps: int = -1,  # noqa: ARG002
    ) -> Figures:
        noised, whole = (
            model.encode(
                part,
                batch_size=ENCODED_AT_ONCE,
                convert_to_tensor=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
            for part in (self.noised, self.texts)
        )
        scores = noised @ whole.T  # (n, n)
        own = torch.arange(len(scores), device=scores.device)
        return {
            METRIC: float(functional.cross_entropy(scores * SCALE, own)),
            "found_first": float((scores.argmax(1) == own).float().mean()),
        }


def pretrain_contrastive(stage: Stage) -> Trained:
    """Teach the stage's encoder to tell texts apart; write it into the stage's folder."""
    options = stage.options
    watch = Stopwatch(stage.clock)
    body = stage.encoder()
    model = SentenceTransformer(modules=[EncoderInput(body)], device="cpu")
    evaluator = HeldOutLoss(stage.corpus.held_out, seed=options.seed)
    noised = [
        with_words_missing(text, np.random.default_rng([options.seed, 0, row]))
        for row, text in enumerate(stage.corpus.train)
    ]
    trainer = MatcherTrainer(
        model=model,
        args=stage.arguments(
            SentenceTransformerTrainingArguments, batch_sampler=BatchSamplers.NO_DUPLICATES
        ),
        train_dataset=datasets.Dataset.from_dict(
            {"anchor": noised, "positive": list(stage.corpus.train)}
        ),
        loss=MultipleNegativesRankingLoss(model, scale=SCALE),
        evaluator=evaluator,
        groups=parameter_groups(model, stage.recipe, options),
    )
    trainer.evaluation_rows = 2 * len(stage.corpus.held_out)

    def measure() -> Figures:
        model.eval()
        return evaluator(model)

    return stage.run(
        trainer,
        model,
        body,
        watch=watch,
        steps_per_epoch=len(trainer.get_train_dataloader()),
        start=measure,
        measure=measure,
    )
