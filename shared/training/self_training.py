"""Self-training: unlabelled texts whose label the model is sure of teach it too, if that helps.

A text joins where its conformal set holds one label, that label's probability is 1 - risk at
least, and the text is no near copy of a labelled one; of each label at most PER_ROW texts for each
labelled row, the surest first. Whether they help is judged on labelled rows alone, out of fold, and
the pseudo-labels of a fold come from a model that has not seen the fold's rows either. The
calibration, the conformal scores and the out-of-scope scores of the model that is kept come from
those held-out labelled rows too, never from pseudo-labelled ones, which a model finds easy that
labelled them.

Sources: Scudder 1965; Lee 2013, Pseudo-Label; Cascante-Bonilla et al. 2021, Curriculum Labeling
(models trained from scratch in each round, so that early slips do not stay).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.inference.classifier import (
    FusedClassifier,
    Fusion,
    Scope,
    energy,
    squashed,
)
from shared.inference.conformal import conformal_members
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.training.examples import Examples, folds
from shared.training.fusion import fit_fused
from shared.training.fusion_weights import fit_fusion
from shared.training.pseudo_labels import NOTHING, Pool, Pseudo, surest

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Say = Callable[[str], None]
FOLDS = 5
ROUNDS = 3
RISK = 0.05
PER_ROW = 3
"""Pseudo-labelled rows of a label for each labelled one: more would drown what is known."""
_FLOOR = 1e-7


@dataclass(frozen=True)
class Round:
    """added: pseudo-labelled rows in the model of all rows. loss: nats a labelled row, out of
    fold; accuracy: of the same rows, 0..1. Round 0 has labelled rows only."""

    number: int
    added: int
    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class SelfTrained:
    """classifier: of the best round. rounds: those tried, the last one too if it was worse.
    best: number of the round that was kept; 0 where unlabelled texts did not help. pseudo: (text,
    label) pairs the kept classifier learned from beside the labelled rows."""

    classifier: FusedClassifier
    rounds: tuple[Round, ...]
    best: int
    pseudo: tuple[tuple[str, str], ...]

    @property
    def words(self) -> str:
        """What came of it, for a report."""
        before = self.rounds[0]
        if len(self.rounds) == 1:
            return "self-training: no unlabelled text was sure enough to learn from"
        if self.best == 0:
            tried = self.rounds[-1]
            return (
                f"self-training: {tried.added} unlabelled texts would have moved the loss on "
                f"held-out labelled rows from {before.loss:.3f} to {tried.loss:.3f}: left out"
            )
        kept = self.rounds[self.best]
        return (
            f"self-training: {kept.added} unlabelled texts lowered the loss on held-out labelled "
            f"rows from {before.loss:.3f} to {kept.loss:.3f} (accuracy {before.accuracy:.3f} to "
            f"{kept.accuracy:.3f}) in {self.best} round{'s' if self.best > 1 else ''}: kept"
        )


@dataclass(frozen=True, eq=False)
class _Held:
    """Labelled rows, each under the model of the fold that held it out. margins: name -> (m, C);
    distances: (m,); truth: (m, C); fold: (m,)."""

    margins: dict[str, Floats]
    distances: Floats
    truth: NDArray[np.bool_]
    fold: Rows

    def only(self, rows: NDArray[np.bool_]) -> "_Held":
        margins = {name: z[rows] for name, z in self.margins.items()}
        return _Held(margins, self.distances[rows], self.truth[rows], self.fold[rows])

    def crossed(self) -> Floats:
        """(m, C) probabilities of each row from weights fitted on the other folds."""
        p = np.zeros(self.truth.shape, dtype=np.float32)
        for k in np.unique(self.fold):
            mine = self.fold == k
            fusion = _fusion(self.only(~mine))
            p[mine] = squashed(fusion.logits(self.only(mine).margins), "single")
        return p

    def fusion(self) -> Fusion:
        """Weights and calibration of all rows; conformal scores of rows that fitted neither."""
        return replace(_fusion(self), nonconformity=np.sort(1 - self.crossed()[self.truth]))


def self_train(
    examples: Examples,
    unlabelled: Sequence[str],
    *,
    embedder: Embedder,
    out_of_scope: Sequence[str] = (),
    rounds: int = ROUNDS,
    risk: float = RISK,
    seed: int = 13,
    threads: int = 2,
    say: Say = lambda _: None,
) -> SelfTrained:
    """Train on `examples`, then on sure `unlabelled` texts too for as long as that lowers the loss.

    risk: of the conformal sets, 0 < risk < 1; a pseudo-label's probability is 1 - risk at least.
    out_of_scope: see fit_fused. A round costs FOLDS + 1 fits without fine-tuning.

    Raises DataError: examples of several labels a row, too few of them, or no unlabelled text.
    """
    if examples.kind != "single":
        raise DataError("self-training needs examples with exactly one label a row")
    parts = _parts(examples, seed)
    everything = np.arange(len(examples))
    trainings = [*(train for train, _ in parts), everything]  # the last one is to be released
    school = _School(
        examples,
        Pool.of(examples, unlabelled),
        RememberingEmbedder(embedder),
        tuple(out_of_scope),
        seed,
        threads,
    )
    pseudo = [NOTHING for _ in trainings]
    tried: list[Round] = []
    best, kept = 0, (school.learn(everything, NOTHING), NOTHING)
    for number in range(rounds + 1):
        models = [school.learn(t, p) for t, p in zip(trainings[:-1], pseudo, strict=False)]
        held = school.held(models, [rows for _, rows in parts])
        tried.append(_measured(number, len(pseudo[-1]), held))
        say(f"round {number}: {tried[-1].added} pseudo-labels, loss {tried[-1].loss:.4f}")
        if number and tried[-1].loss >= tried[-2].loss:
            break
        if number:
            model = school.learn(everything, pseudo[-1])
            best, kept = number, (_released(model, held), pseudo[-1])
        chosen = school.sure_of_all([*models, kept[0]], held, trainings, risk)
        if all(new.same_as(old) for new, old in zip(chosen, pseudo, strict=True)):
            break
        pseudo = chosen
    texts = zip((school.pool.texts[row] for row in kept[1].rows), kept[1].labels, strict=True)
    return SelfTrained(kept[0], tuple(tried), best, tuple(texts))


@dataclass(frozen=True, eq=False)
class _School:
    """What all models of a run have in common."""

    examples: Examples
    pool: Pool
    embedder: Embedder
    out_of_scope: tuple[str, ...]
    seed: int
    threads: int

    def learn(self, rows: Rows, pseudo: Pseudo) -> FusedClassifier:
        both = self.pool.beside(self.examples.take(rows), pseudo)
        return fit_fused(
            both, embedder=self.embedder, out_of_scope=self.out_of_scope, seed=self.seed,
            threads=self.threads,
        ).classifier  # fmt: skip

    def margins(
        self, model: FusedClassifier, texts: Sequence[str]
    ) -> tuple[dict[str, Floats], Floats]:
        """In the columns of examples.names; a label that a fold's model has never seen gets the
        row's lowest margin."""
        column = [self.examples.names.index(label) for label in model.labels]
        margins, distances = model.margins(texts)
        aligned = {}
        for name, z in margins.items():
            wide = np.repeat(z.min(1, keepdims=True), len(self.examples.names), axis=1)
            wide[:, column] = z
            aligned[name] = wide
        return aligned, distances

    def held(self, models: Sequence[FusedClassifier], parts: Sequence[Rows]) -> _Held:
        """The rows of each part under the model of that part, one part after the other."""
        seen = [
            self.margins(model, self.examples.take(rows).texts)
            for model, rows in zip(models, parts, strict=True)
        ]
        return _Held(
            {name: np.concatenate([z[name] for z, _ in seen]) for name in seen[0][0]},
            np.concatenate([distances for _, distances in seen]),
            self.examples.targets(self.examples.names)[np.concatenate(parts)],
            np.repeat(np.arange(len(parts)), [len(rows) for rows in parts]),
        )

    def sure_of_all(
        self, models: Sequence[FusedClassifier], held: _Held, trainings: Sequence[Rows], risk: float
    ) -> list[Pseudo]:
        """What each model is sure of; that of a fold by a calibration without the fold's rows."""
        fusions = [held.only(held.fold != k).fusion() for k in range(len(models) - 1)]
        return [
            self.sure(model, fusion, rows, risk)
            for model, fusion, rows in zip(
                models, [*fusions, held.fusion()], trainings, strict=True
            )
        ]

    def sure(self, model: FusedClassifier, fusion: Fusion, rows: Rows, risk: float) -> Pseudo:
        """Unlabelled texts whose label is sure. rows: the examples that `model` learned from."""
        p = squashed(fusion.logits(self.margins(model, self.pool.texts)[0]), "single")
        alone = conformal_members(p, fusion.nonconformity, risk).sum(1) == 1
        rooms = PER_ROW * self.examples.take(rows).targets(self.examples.names).sum(0)
        return surest(p, alone & (p.max(1) >= 1 - risk), rooms, self.examples.names)


def _parts(examples: Examples, seed: int) -> list[tuple[Rows, Rows]]:
    """Folds that hold something out; three, so that weights can be fitted and checked on others."""
    groups = len(np.unique(examples.groups))
    parts = [part for part in folds(examples, min(FOLDS, groups), seed) if len(part[1])]
    if len(parts) < 3:
        raise DataError(
            f"{len(examples)} examples in {groups} groups of near copies are too few to judge "
            "self-training on: give 3 different texts of a label at least"
        )
    return parts


def _measured(number: int, added: int, held: _Held) -> Round:
    p = held.crossed()
    loss = -np.log(np.maximum(p[held.truth], _FLOOR)).mean()
    right = p.argmax(1) == held.truth.argmax(1)
    return Round(number, added, float(loss), float(right.mean()))


def _released(model: FusedClassifier, held: _Held) -> FusedClassifier:
    """The model with every promise measured on labelled rows that it, or its like, had not seen."""
    fusion = held.fusion()
    energies = energy(fusion.logits(held.margins))
    signals = np.stack([energies, held.distances], 1)
    scope = Scope(
        signals.mean(0).astype(np.float32),
        np.maximum(signals.std(0), 1e-6).astype(np.float32),
        model.scope.weights,
        model.scope.in_scope,
    )
    scope = replace(scope, in_scope=np.sort(scope.scores(energies, held.distances)))
    return replace(model, fusion=fusion, scope=scope)


def _fusion(held: _Held) -> Fusion:
    return fit_fusion(held.margins, held.truth, "single")
