"""The fused classifier, serving side: lexical, frozen-dense and fine-tuned scorers as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError
from shared.inference.classifier_files import read_classifier, write_classifier
from shared.inference.conformal import conformal_members
from shared.inference.dense import DenseScorer, KernelScorer, Views
from shared.inference.lexical import LexicalScorer, Vocabulary

if TYPE_CHECKING:
    from shared.inference.runtime import Embedder

Kind = Literal["single", "multi"]
Floats = NDArray[np.float32]
RANKED = 10  # how many labels a prediction lists
# Names of the scorers.
LEXICAL = "lexical"
DENSE: Final = "dense"
FINETUNED: Final = "finetuned"
# Stored in half precision; the trainer rounds the same way before it measures.
HALVED = (
    "known", "dense.weight", "lexical.weight", "finetuned.known", "finetuned.weight",
)  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """What the classifier says about one text.

    label: the most probable label, also where nothing is decided. probability: calibrated, 0..1.
    labels: the decision: (label,) for "single"; for "multi" every label above its own threshold,
    perhaps none. ranking: the ten most probable labels, best first. conformal: the labels that
    cannot be ruled out at the chosen alpha, most probable first; empty means that nothing fits.
    oos_score: grows the farther the text is out of scope; compare with
    FusedClassifier.oos_threshold. scorers: each scorer's own calibrated probability of `label`.
    """

    label: str
    probability: float
    labels: tuple[str, ...]
    ranking: tuple[tuple[str, float], ...]
    conformal: tuple[str, ...]
    oos_score: float
    scorers: dict[str, float]


@dataclass(frozen=True, eq=False)
class Scores:
    """One pass over n texts. probabilities: (n, C); parts: scorer -> (n, C); oos: (n,)."""

    probabilities: Floats
    parts: Mapping[str, Floats]
    oos: Floats


@dataclass(frozen=True, eq=False)
class Calibration:
    """logits = slope * margin + bias. slope: (1,) or (C,), 1 / temperature; bias: (C,)."""

    slope: Floats
    bias: Floats

    def __call__(self, margins: Floats) -> Floats:
        """(n, C) -> (n, C)."""
        return np.asarray(margins * self.slope + self.bias, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Fusion:
    """How margins become one calibrated answer.

    weights: scorer -> weight of its margins, >= 0. whole: calibrates the weighted sum; parts:
    each scorer alone. thresholds: (C,) the probability at which a "multi" label is given.
    nonconformity: sorted scores of calibration rows that fitted none of the above.
    """

    weights: Mapping[str, float]
    whole: Calibration
    parts: Mapping[str, Calibration]
    thresholds: Floats
    nonconformity: Floats

    def logits(self, margins: Mapping[str, Floats]) -> Floats:
        """(n, C) calibrated logits of the weighted sum of the scorers' margins."""
        mixed = sum(np.float32(self.weights[name]) * z for name, z in margins.items())
        return self.whole(np.asarray(mixed, dtype=np.float32))


def squashed(logits: Floats, kind: Kind) -> Floats:
    """(n, C) probabilities: softmax over the labels, or a sigmoid for each."""
    if kind == "multi":
        return np.asarray(0.5 * (1 + np.tanh(logits / 2)), dtype=np.float32)
    e = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Scope:
    """Out-of-scope score: a weighted sum of two standardised signals, from in-scope rows alone.

    means, deviations, weights: (2,) of energy and of the distance to the known vectors.
    in_scope: sorted scores of held-out in-scope rows.
    """

    means: Floats
    deviations: Floats
    weights: Floats
    in_scope: Floats

    def scores(self, energies: Floats, distances: Floats) -> Floats:
        """(n,) higher is farther out; 0 is the mean of in-scope rows."""
        signals = (np.stack([energies, distances], 1) - self.means) / self.deviations
        return np.asarray(signals @ self.weights, dtype=np.float32)


def energy(logits: Floats) -> Floats:
    """(n,) -ln sum exp of the logits: high where no label is supported. Source: Liu et al. 2020."""
    top = logits.max(1, keepdims=True)
    return np.asarray(-(top[:, 0] + np.log(np.exp(logits - top).sum(1))), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class FusedClassifier:
    """labels: C names in column order. dense: on the features of `embedder`; tuned: on those of
    `finetuned`, which are there together or not at all. measured_by: the one of the two among whose
    vectors a text's distance to what is known is measured."""

    labels: tuple[str, ...]
    kind: Kind
    embedder: "Embedder"
    lexical: LexicalScorer
    dense: DenseScorer
    fusion: Fusion
    scope: Scope
    finetuned: "Embedder | None" = None
    tuned: DenseScorer | None = None
    measured_by: Literal["dense", "finetuned"] = DENSE

    @property
    def asks_base(self) -> bool:
        """Whether the vectors of `embedder` say anything here; where not, a text costs half."""
        return self.measured_by == DENSE or self.fusion.weights.get(DENSE, 1.0) > 0

    def score(
        self,
        texts: Sequence[str],
        *,
        features: Floats | None = None,
        finetuned_features: Floats | None = None,
    ) -> Scores:
        """features, finetuned_features: (n, k * dim) of `embedder` and of `finetuned`, where the
        caller has them already."""
        if not len(texts):
            empty = np.empty((0, len(self.labels)), dtype=np.float32)
            return Scores(empty, dict.fromkeys(self.fusion.weights, empty), empty[:, 0])
        margins, distances = self.margins(
            texts, features=features, finetuned_features=finetuned_features
        )
        logits = self.fusion.logits(margins)
        return Scores(
            squashed(logits, self.kind),
            {name: squashed(self.fusion.parts[name](z), self.kind) for name, z in margins.items()},
            self.scope.scores(energy(logits), distances),
        )

    def margins(
        self,
        texts: Sequence[str],
        *,
        features: Floats | None = None,
        finetuned_features: Floats | None = None,
    ) -> tuple[dict[str, Floats], Floats]:
        """The margins (n, C) of each scorer that has a say, and the distance to the known vectors
        (n,)."""
        margins = {LEXICAL: self.lexical.margins(texts)}
        distances: dict[str, Floats] = {}
        if self.asks_base:
            if features is None:
                features = self.embedder.features(texts)
            margins[DENSE], distances[DENSE] = self.dense(features)
        if self.finetuned is not None and self.tuned is not None:
            if finetuned_features is None:
                finetuned_features = self.finetuned.features(texts)
            margins[FINETUNED], distances[FINETUNED] = self.tuned(finetuned_features)
        return margins, distances[self.measured_by]

    def predict_proba(
        self,
        texts: Sequence[str],
        *,
        features: Floats | None = None,
        finetuned_features: Floats | None = None,
    ) -> Floats:
        """(n, C) calibrated. Rows sum to 1 for "single"; each entry stands alone for "multi"."""
        return self.score(
            texts, features=features, finetuned_features=finetuned_features
        ).probabilities

    def predict(
        self,
        texts: Sequence[str],
        *,
        features: Floats | None = None,
        finetuned_features: Floats | None = None,
        alpha: float = 0.05,
    ) -> list[Prediction]:
        """In the order of the texts. alpha: risk that the conformal set misses the true label."""
        scores = self.score(texts, features=features, finetuned_features=finetuned_features)
        return self.predictions(scores, alpha=alpha)

    def predictions(self, scores: Scores, *, alpha: float = 0.05) -> list[Prediction]:
        """What `score` found, a prediction for each text. alpha: as in `predict`."""
        p = scores.probabilities
        members = conformal_members(p, self.fusion.nonconformity, alpha)
        decided = self.decide(p)
        order = np.argsort(-p, axis=1, kind="stable")
        return [
            Prediction(
                label=self.labels[order[row, 0]],
                probability=float(p[row, order[row, 0]]),
                labels=tuple(self.labels[j] for j in order[row] if decided[row, j]),
                ranking=tuple((self.labels[j], float(p[row, j])) for j in order[row, :RANKED]),
                conformal=tuple(self.labels[j] for j in order[row] if members[row, j]),
                oos_score=float(scores.oos[row]),
                scorers={
                    name: float(part[row, order[row, 0]]) for name, part in scores.parts.items()
                },
            )
            for row in range(len(p))
        ]

    def decide(self, probabilities: Floats) -> NDArray[np.bool_]:
        """(n, C) the labels given: the most probable one, or for "multi" all above threshold."""
        if self.kind == "multi":
            return np.asarray(probabilities >= self.fusion.thresholds)
        best = probabilities.argmax(1) if len(probabilities) else np.empty(0, dtype=np.int64)
        return np.asarray(best[:, None] == np.arange(len(self.labels)))

    def oos_threshold(self, in_scope_loss: float = 0.03) -> float:
        """The score above which a text is refused, losing this share of in-scope texts."""
        if not 0 < in_scope_loss < 1:
            raise ValueError(f"in_scope_loss = {in_scope_loss}, expected between 0 and 1")
        return float(np.quantile(self.scope.in_scope, 1 - in_scope_loss, method="higher"))

    def save(self, folder: Path) -> None:
        """classifier.json and classifier.safetensors in `folder`; the encoders are not in it.

        About 15 MB for BANKING77 (8,600 rows, 77 labels): half of it the training vectors, half
        the weights of 36,000 n-grams.
        """
        lexical, scope, fusion = self.lexical, self.scope, self.fusion
        arrays = {
            "known": self.dense.known,
            "dense.centre": self.dense.views.centre,
            "dense.weight": self.dense.kernel.weight,
            "lexical.idf": lexical.idf,
            "lexical.weight": lexical.weight,
            "lexical.bias": lexical.bias,
            "fusion.slope": fusion.whole.slope,
            "fusion.bias": fusion.whole.bias,
            "fusion.thresholds": fusion.thresholds,
            "fusion.nonconformity": fusion.nonconformity,
            **{f"scope.{field.name}": getattr(scope, field.name) for field in fields(scope)},
        }
        for name, own in fusion.parts.items():
            arrays |= {f"parts.{name}.slope": own.slope, f"parts.{name}.bias": own.bias}
        head: dict[str, Any] = {
            "kind": self.kind,
            "labels": self.labels,
            "embedder": self.embedder.fingerprint,
            "weights": dict(fusion.weights),
            "measured_by": self.measured_by,
            "dense": _numbers(self.dense),
            "words": list(lexical.vocabulary.words),
            "chars": list(lexical.vocabulary.chars),
            "finetuned": None,
        }
        if self.finetuned is not None and self.tuned is not None:
            arrays |= {
                "finetuned.known": self.tuned.known,
                "finetuned.centre": self.tuned.views.centre,
                "finetuned.weight": self.tuned.kernel.weight,
            }
            head["finetuned"] = {
                "fingerprint": self.finetuned.fingerprint,
                "scorer": _numbers(self.tuned),
            }
        write_classifier(folder, head, arrays, halved=HALVED)

    @classmethod
    def load(
        cls, folder: Path, *, embedder: "Embedder", finetuned: "Embedder | None" = None
    ) -> "FusedClassifier":
        """Raises ModelError: files missing or damaged, or vectors of another encoder."""
        head, arrays = read_classifier(folder)
        try:
            _require_encoder(folder, "base", head["embedder"], embedder)
            own = head["finetuned"]
            if own is not None:
                _require_encoder(folder, "fine-tuned", own["fingerprint"], finetuned)
            vocabulary = Vocabulary.from_grams(head["words"], head["chars"])
            lexical = (arrays[f"lexical.{name}"] for name in ("idf", "weight", "bias"))
            return cls(
                labels=tuple(head["labels"]),
                kind=head["kind"],
                embedder=embedder,
                lexical=LexicalScorer(vocabulary, *lexical),
                dense=_dense("dense", arrays["known"], arrays, head["dense"]),
                fusion=_fusion(head["weights"], arrays),
                scope=Scope(
                    **{field.name: arrays[f"scope.{field.name}"] for field in fields(Scope)}
                ),
                finetuned=None if own is None else finetuned,
                tuned=None
                if own is None
                else _dense("finetuned", arrays["finetuned.known"], arrays, own["scorer"]),
                measured_by=head.get("measured_by", DENSE),  # all, before there was a choice
            )
        except KeyError as error:
            raise ModelError(
                f"{folder}: incomplete classifier, or of an earlier version: {error} is missing; "
                "train again"
            ) from None


def _numbers(scorer: DenseScorer) -> dict[str, float]:
    kernel = scorer.kernel
    return {
        "gamma": kernel.gamma,
        "floor": kernel.floor,
        "first": scorer.views.first,
        "neighbour": scorer.neighbour,
    }


def _dense(
    name: str, known: Floats, arrays: Mapping[str, Floats], numbers: Mapping[str, float]
) -> DenseScorer:
    kernel = KernelScorer(arrays[f"{name}.weight"], numbers["gamma"], numbers["floor"])
    # All views weighed the same before `first` was known.
    views = Views(arrays[f"{name}.centre"], numbers.get("first", 1.0))
    # As the scope was fitted: to the nearest, before others were tried.
    return DenseScorer(views, kernel, known, int(numbers.get("neighbour", 1)))


def _fusion(weights: Mapping[str, float], arrays: Mapping[str, Floats]) -> Fusion:
    def calibration(name: str) -> Calibration:
        return Calibration(arrays[f"{name}.slope"], arrays[f"{name}.bias"])

    return Fusion(
        weights,
        calibration("fusion"),
        {name: calibration(f"parts.{name}") for name in weights},
        arrays["fusion.thresholds"],
        arrays["fusion.nonconformity"],
    )


def _require_encoder(folder: Path, role: str, wanted: str, given: "Embedder | None") -> None:
    if given is None:
        raise ModelError(f"{folder}: needs its {role} encoder {wanted}, which was not given")
    if given.fingerprint != wanted:
        raise ModelError(
            f"{folder}: made with the {role} encoder {wanted}, given {given.fingerprint}; "
            "use the encoder and precision it was trained with"
        )
