"""A fused classifier on disk: JSON for names and numbers, safetensors for arrays, no pickle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from shared.errors import ModelError
from shared.inference.classifier import Calibration, FusedClassifier, Fusion, Scope
from shared.inference.dense import KernelScorer, LinearScorer
from shared.inference.lexical import LexicalScorer, Vocabulary

if TYPE_CHECKING:
    from shared.inference.runtime import Embedder

FORMAT = 1
JSON_NAME = "classifier.json"
ARRAYS_NAME = "classifier.safetensors"
# Half precision where the size is: 11 bits of mantissa move a margin by less than 0.001.
HALVED = ("lexical.weight", "known")


def save_classifier(classifier: FusedClassifier, folder: Path) -> None:
    """BANKING77: about 14 MB, of which half the training vectors and half the n-gram weights."""
    folder.mkdir(parents=True, exist_ok=True)
    lexical, scope, fusion = classifier.lexical, classifier.scope, classifier.fusion
    arrays: dict[str, NDArray[Any]] = {
        "lexical.idf": lexical.idf,
        "lexical.weight": lexical.weight,
        "lexical.bias": lexical.bias,
        "dense.weight": classifier.dense.weight,
        "known": classifier.known,
        "fusion.slope": fusion.whole.slope,
        "fusion.bias": fusion.whole.bias,
        "fusion.thresholds": fusion.thresholds,
        "fusion.nonconformity": fusion.nonconformity,
        "scope.means": scope.means,
        "scope.deviations": scope.deviations,
        "scope.weights": scope.weights,
        "scope.in_scope": scope.in_scope,
    }
    for name, own in fusion.parts.items():
        arrays[f"parts.{name}.slope"], arrays[f"parts.{name}.bias"] = own.slope, own.bias
    if classifier.tuned is not None:
        arrays |= _linear_arrays("finetuned", classifier.tuned)
    head = {
        "format": FORMAT,
        "kind": classifier.kind,
        "labels": classifier.labels,
        "weights": dict(fusion.weights),
        "dense": {"gamma": classifier.dense.gamma, "floor": classifier.dense.floor},
        "embedder": classifier.embedder.fingerprint,
        "finetuned": None
        if classifier.finetuned is None or classifier.tuned is None
        else {
            "fingerprint": classifier.finetuned.fingerprint,
            "normalised": classifier.tuned.normalised,
        },
        "words": list(lexical.vocabulary.words),
        "chars": list(lexical.vocabulary.chars),
    }
    stored = {
        name: np.ascontiguousarray(array, dtype=np.float16 if name in HALVED else np.float32)
        for name, array in arrays.items()
    }
    save_file(stored, folder / ARRAYS_NAME)
    (folder / JSON_NAME).write_text(json.dumps(head, ensure_ascii=False), encoding="utf-8")


def load_classifier(
    folder: Path, *, embedder: "Embedder", finetuned: "Embedder | None" = None
) -> FusedClassifier:
    """Raises ModelError: files missing, damaged or of another format; another encoder's vectors."""
    head, arrays = _read(folder)
    _require_encoder(folder, "embedder", head["embedder"], embedder)
    tuned = None
    if head["finetuned"] is not None:
        if finetuned is None:
            raise ModelError(f"{folder}: needs its fine-tuned encoder, which was not given")
        _require_encoder(folder, "fine-tuned", head["finetuned"]["fingerprint"], finetuned)
        tuned = _linear(arrays, "finetuned", normalised=head["finetuned"]["normalised"])
    try:
        return FusedClassifier(
            labels=tuple(head["labels"]),
            kind=head["kind"],
            embedder=embedder,
            lexical=LexicalScorer(
                Vocabulary.from_grams(head["words"], head["chars"]),
                arrays["lexical.idf"],
                arrays["lexical.weight"],
                arrays["lexical.bias"],
            ),
            dense=KernelScorer(arrays["dense.weight"], **head["dense"]),
            known=arrays["known"],
            fusion=Fusion(
                head["weights"],
                Calibration(arrays["fusion.slope"], arrays["fusion.bias"]),
                {
                    name: Calibration(arrays[f"parts.{name}.slope"], arrays[f"parts.{name}.bias"])
                    for name in head["weights"]
                },
                arrays["fusion.thresholds"],
                arrays["fusion.nonconformity"],
            ),
            scope=Scope(
                arrays["scope.means"],
                arrays["scope.deviations"],
                arrays["scope.weights"],
                arrays["scope.in_scope"],
            ),
            finetuned=finetuned if tuned is not None else None,
            tuned=tuned,
        )
    except KeyError as error:
        raise ModelError(f"{folder}: incomplete classifier, {error} is missing") from None


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    try:
        head = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS_NAME)
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: not a classifier, no {Path(error.filename or '').name}; "
            f"expected {JSON_NAME} and {ARRAYS_NAME}"
        ) from None
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder}: damaged classifier: {error}") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        found = head.get("format") if isinstance(head, dict) else type(head).__name__
        raise ModelError(f"{folder / JSON_NAME}: format {found!r}, expected {FORMAT}")
    return head, {name: array.astype(np.float32) for name, array in arrays.items()}


def _require_encoder(folder: Path, role: str, wanted: str, given: "Embedder") -> None:
    if given.fingerprint != wanted:
        raise ModelError(
            f"{folder}: made with the {role} encoder {wanted}, given {given.fingerprint}; "
            "use the encoder and precision it was trained with"
        )


def _linear_arrays(name: str, scorer: LinearScorer) -> dict[str, NDArray[Any]]:
    return {f"{name}.weight": scorer.weight, f"{name}.bias": scorer.bias}


def _linear(arrays: dict[str, NDArray[Any]], name: str, *, normalised: bool) -> LinearScorer:
    return LinearScorer(arrays[f"{name}.weight"], arrays[f"{name}.bias"], normalised)
