"""A bot that bears slips in writing, and what the version before it knew better: for its report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apps.chatbot.bot import Bot
from shared.evaluation.forgetting import forgotten, recall
from shared.evaluation.robustness import Judged, slips_table
from shared.evaluation.side_by_side import SideBySide
from shared.inference.classifier import FusedClassifier
from shared.inference.runtime import Embedder
from shared.inference.spelling import Spelling
from shared.registry import ModelVersion
from shared.training.examples import Examples
from shared.training.fusion import FusedFit
from shared.training.hardening import COPIES, Hardened, harden, scored
from shared.training.head_data import HeadData
from shared.training.learning import refit
from shared.training.options import TrainOptions

INTENT = "intent"  # the task of judgement.outcomes_of that forgetting is measured on
NOT_BESIDE = "altered copies of the rows: not tried beside unlabelled questions"


@dataclass(frozen=True)
class Hardening:
    """What was chosen for one bot. head: of the rows it was chosen on, told to use altered copies
    if they help."""

    head: HeadData
    chosen: Hardened
    embedder: Embedder
    options: TrainOptions

    @classmethod
    def of(
        cls,
        head: HeadData,
        *,
        embedder: Embedder,
        options: TrainOptions,
        copies: bool,
        unlabelled: bool,
        say: Callable[[str], None],
    ) -> "Hardening":
        """copies: whether altered copies are to be tried. unlabelled: whether the bot will learn
        from unlabelled questions, which go without them."""
        chosen = harden(
            head, embedder=embedder, options=options, spelling=True,
            copies=copies and not unlabelled, say=say,
        )  # fmt: skip
        if copies and unlabelled:
            chosen = replace(chosen, notes=(*chosen.notes, NOT_BESIDE))
        return cls(replace(head, altered=chosen.copies), chosen, embedder, options)

    def spelling(self, examples: Examples) -> Spelling | None:
        """Of the rows that teach, where mending words helps."""
        return Spelling.of(examples.texts) if self.chosen.spelling else None

    def table(self, bot: Bot, held: Examples) -> tuple[SideBySide, ...]:
        """Before and after on the report's rows; nothing where nothing was kept.

        A fine-tuned encoder is not trained again without copies: beside one, before and after
        differ by the mended words alone.
        """
        remedies = list(self.chosen.remedies)
        plain = bot.classifier
        if bot.classifier.finetuned is not None:
            remedies = [name for name in remedies if name != COPIES]
        elif self.head.altered:
            plain = self._without_copies()
        if not remedies:
            return ()
        rows = Judged(held.texts, held.labels, held.groups)
        after = scored(bot.classifier, bot.read)
        return (
            slips_table(remedies, scored(plain), after, rows, task=INTENT, seed=self.options.seed),
        )

    def _without_copies(self) -> FusedClassifier:
        head = replace(self.head, altered=False)
        return refit(head, embedder=self.embedder, options=self.options).classifier


def forgetting(
    bot: Bot, taught: Examples, fit: FusedFit | None, previous: Sequence[ModelVersion]
) -> tuple[SideBySide, ...]:
    """Beside each earlier version. fit: the one behind the bot, whose out-of-fold rows stand for
    unseen ones; None where it learned from other rows too."""

    def score(texts: Sequence[str], truth: Sequence[tuple[str, ...]]) -> NDArray[np.float64]:
        replies = bot.reply(texts)
        return np.array(
            [float(reply.intent in labels) for reply, labels in zip(replies, truth, strict=True)]
        )

    known = {*bot.classifier.labels, *bot.answers.by_label}
    held_out = None if fit is None else fit.held_out_scores
    asked = recall(INTENT, known, taught.texts, score, held_out)
    return tuple(
        table
        for version in previous
        for table in forgotten(version.path, version.reference, [asked])
    )
