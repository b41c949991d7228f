"""Unlabelled questions of a firm as further teachers of its bot, where they help."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.evaluation.leakage import TrainingRows
from shared.inference.classifier import FusedClassifier
from shared.inference.runtime import Embedder
from shared.training.head_data import HeadData, Learned
from shared.training.learning import refit
from shared.training.options import TrainOptions
from shared.training.self_training import SelfTrained, self_train


@dataclass(frozen=True)
class Studied:
    """classifier: the one to serve. helped: whether it learned from unlabelled questions. rivals:
    name -> what it is to be measured beside. notes: for the report."""

    classifier: FusedClassifier
    helped: bool
    rivals: Mapping[str, FusedClassifier]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """texts: unlabelled questions, maybe none. apart: those that are no near copy of a question
    that the report is on, which would flatter it. embedder: of the base encoder."""

    texts: tuple[str, ...]
    apart: tuple[str, ...]
    embedder: Embedder
    options: TrainOptions
    say: Callable[[str], None]

    @classmethod
    def apart_from(
        cls,
        held: Sequence[str],
        texts: Sequence[str],
        *,
        embedder: Embedder,
        options: TrainOptions,
        say: Callable[[str], None],
    ) -> "Study":
        """held: questions that the report is on. texts: unlabelled ones, maybe copies of these."""
        copies = TrainingRows.of(held).copies(texts).near if texts else ()
        apart = tuple(text for text, copy in zip(texts, copies, strict=True) if not copy)
        return cls(tuple(texts), apart, embedder, options, say)

    def on(self, head: HeadData, learned: Learned) -> Studied:
        """After `learned` from the same head, which may have used the texts itself.

        Raises DataError when nothing is left to learn from.
        """
        plain = learned.classifier(head.name)
        rivals = {}
        if learned.finetuned is not None:
            rivals["fusion without fine-tuning"] = learned.frozen[head.name].classifier
        if not self.texts:
            return Studied(plain, False, rivals, ())
        if learned.pseudo.get(head.name):
            return Studied(plain, True, rivals, ())
        if learned.encoder is not None:
            note = "self-training: not tried beside a fine-tuned encoder"
            return Studied(plain, False, rivals, (note,))
        found = self._run(head, self.apart)
        if not found.best:
            return Studied(plain, False, rivals, (found.words,))
        rivals["fusion without unlabelled texts"] = plain
        return Studied(found.classifier, True, rivals, (found.words,))

    def again(self, head: HeadData, before: Studied) -> tuple[FusedClassifier, tuple[str, ...]]:
        """A classifier without fine-tuning on these rows, and notes: after the report, on all rows
        there are, with unlabelled questions if they had helped."""
        note = "The released model was then fitted again on all rows, the held-out ones too."
        if not before.helped:
            return refit(head, embedder=self.embedder, options=self.options).classifier, (note,)
        found = self._run(head, self.texts)
        return found.classifier, (note, f"The released model, on all rows: {found.words}")

    def _run(self, head: HeadData, texts: Sequence[str]) -> SelfTrained:
        return self_train(
            head.examples,
            texts,
            embedder=self.embedder,
            out_of_scope=head.out_of_scope,
            seed=self.options.seed,
            threads=self.options.threads or 2,
            say=self.say,
        )
