"""From a trained encoder to its int8 ONNX runtime, measured against fp32 before anyone uses it."""

import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from torch import Tensor, nn

from shared.atomic import write_text
from shared.errors import DataError
from shared.inference.adapter_inputs import adapter_places, add_adapter_inputs
from shared.inference.parity import HeadCheck, ParityGate, ParityReport, compare
from shared.inference.probes import PROBE_TEXTS
from shared.inference.runtime import (
    CALIBRATION_FILE,
    ONNX_DESCRIPTION_FILE,
    ONNX_FILE,
    TOKENIZER_FILE,
    Embedder,
    OnnxEmbedder,
    float_fingerprint,
    int8_fingerprint,
)
from shared.inference.static_quantisation import Calibration, quantise_statically
from shared.inference.throughput import Rate, time_rounds
from shared.inference.token_quantisation import quantise_matmuls
from shared.inference.torch_runtime import FloatPrecision, TorchEmbedder
from shared.modeling.encoder import FEATURE_BLOCKS, Encoder
from shared.modeling.encoder_folder import EncoderFolder, read_encoder_folder

FEWEST_PROBES = 3
# Enough to tell emulated bf16 from real; `triptych benchmark core` measures with care.
_TIMED_TEXTS = 8
_ROUNDS = 2
_OPSET = 17
_SLOW = "no faster than fp32 on this machine"

_log = logging.getLogger(__name__)


def export_int8(
    folder: Path,
    target: Path,
    probe_texts: Sequence[str] = PROBE_TEXTS,
    gate: ParityGate | None = None,
    *,
    head: HeadCheck | None = None,
    threads: int | None = None,
    prefix: str | None = None,
    max_length: int | None = None,
) -> ParityReport:
    """Write encoder.int8.onnx, tokenizer.json, encoder.json and parity.json into `target`.

    target: replaced as a whole when everything is written; <folder>/onnx is where load_embedder
    looks. probe_texts: what parity is judged on, best the application's own validation texts.
    gate: what must be reached (None: ParityGate()). head: what is computed from the vectors.

    An encoder that cannot be exported gives a report that says so, not an exception; fp32 can
    still serve it.

    Raises:
        ModelNotFoundError, ModelError: no usable encoder in `folder`.
        DataError: fewer than 3 probe texts, or expected labels that do not match them.
    """
    _check_probes(probe_texts, head)
    found = read_encoder_folder(folder, prefix=prefix, max_length=max_length)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
    try:
        failure = _write_onnx(found, part)
        report = _measure(found, part, failure, probe_texts, gate or ParityGate(), head, threads)
        report.write(part)
        part.chmod(0o755)
        _swap(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _log.info("%s: int8 parity %s", folder, "passed" if report.passed else "failed")
    return report


def _check_probes(texts: Sequence[str], head: HeadCheck | None) -> None:
    if len(texts) < FEWEST_PROBES:
        raise DataError(f"{len(texts)} probe texts; parity needs at least {FEWEST_PROBES}")
    if head is not None and head.expected is not None and len(head.expected) != len(texts):
        raise DataError(
            f"{len(head.expected)} expected labels for {len(texts)} probe texts; "
            "expected one for each"
        )


def _write_onnx(found: EncoderFolder, part: Path) -> str | None:
    """Fill `part`; the reason if this encoder has no ONNX form, else None."""
    encoder = _encoder(found).eval()
    whole = part / "fp32.onnx"
    try:
        trace_onnx(encoder, whole)
        model = onnx.load(str(whole))
        places = adapter_places(model, found.model_type)
        if _quantised(model, found.path / CALIBRATION_FILE) == 0:
            return "export failed: the graph has no matrix product with constant weights"
        add_adapter_inputs(model, places)
        onnx.save(model, str(part / ONNX_FILE))
        onnx.checker.check_model(str(part / ONNX_FILE))
    except OSError:
        raise
    except Exception as error:
        # torch, onnx and the models themselves raise whatever they like for what they do not
        # support. The encoder still serves in fp32, so this is told and not fatal.
        _log.debug("%s: export failed", found.path, exc_info=True)
        return f"export failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
    finally:
        whole.unlink(missing_ok=True)
    encoder.tokenizer.backend_tokenizer.save(str(part / TOKENIZER_FILE))
    description = {
        "fingerprint": int8_fingerprint(found),
        "dim": found.dim,
        "width": FEATURE_BLOCKS * found.dim,
        "prefix": found.prefix,
        "max_length": found.max_length,
        "pad_token_id": int(encoder.tokenizer.pad_token_id or 0),
        "adapters": [place.module for place in places],
        "sha256": {name: _sha256(part / name) for name in (ONNX_FILE, TOKENIZER_FILE)},
    }
    write_text(part / ONNX_DESCRIPTION_FILE, json.dumps(description, indent=2) + "\n")
    return None


def _quantised(model: onnx.ModelProto, calibration: Path) -> int:
    """Bring the products to int8: statically where the encoder was calibrated; how many."""
    if calibration.is_file():
        return quantise_statically(model, Calibration.read(calibration).spans)
    return quantise_matmuls(model)


def trace_onnx(encoder: Encoder, path: Path) -> None:
    """The encoder in fp32 as ONNX: input_ids and attention_mask, (batch, length) int64 each, to
    features (batch, FEATURE_BLOCKS * dim) float32, the vector first, not normalised."""
    # Plain attention exports to a smaller graph than the fused kind: no tests for empty rows.
    if hasattr(encoder.model, "set_attn_implementation"):
        cast(Any, encoder.model).set_attn_implementation("eager")
    ids = torch.full((2, 7), 5, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    free = {0: "batch", 1: "length"}
    with warnings.catch_warnings(), torch.inference_mode():
        # The tracer warns of itself (dynamo=True needs onnxscript) and of each Python condition.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Features(encoder).eval(),
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["features"],
            dynamic_axes={"input_ids": free, "attention_mask": free, "features": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )


class _Features(nn.Module):
    """Encoder.features as the forward pass, which is what the tracer follows."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.encoder.features(input_ids, attention_mask)


def _measure(
    found: EncoderFolder,
    part: Path,
    failure: str | None,
    texts: Sequence[str],
    gate: ParityGate,
    head: HeadCheck | None,
    threads: int | None,
) -> ParityReport:
    embedders: dict[str, Embedder] = {
        name: _torch_embedder(found, name, threads) for name in ("fp32", "bf16")
    }
    if failure is None:
        embedders["int8"] = OnnxEmbedder(part, threads=threads)
    rates = {rate.name: rate.texts_per_second for rate in _rates(embedders, texts)}
    # A processor without bf16 instructions emulates them, many times slower: no vectors then.
    if rates["bf16"] <= rates["fp32"]:
        del embedders["bf16"]
    vectors = {name: embedder.encode(texts) for name, embedder in embedders.items()}
    parities = {
        name: compare(vectors["fp32"], vectors[name], head) for name in vectors if name != "fp32"
    }
    int8, bf16 = parities.get("int8"), parities.get("bf16")
    return ParityReport(
        fingerprint=int8_fingerprint(found),
        texts=len(texts),
        gate=gate,
        int8=int8,
        bf16=bf16,
        int8_failures=(failure or "",) if int8 is None else int8.failures(gate),
        bf16_failures=(_SLOW,) if bf16 is None else bf16.failures(gate),
        texts_per_second={name: round(rate, 1) for name, rate in rates.items()},
    )


def _rates(embedders: dict[str, Embedder], texts: Sequence[str]) -> tuple[Rate, ...]:
    timed = texts[:_TIMED_TEXTS]
    rivals = {name: partial(embedder.encode, timed) for name, embedder in embedders.items()}
    return time_rounds(rivals, len(timed), _ROUNDS)


def _torch_embedder(
    found: EncoderFolder, precision: FloatPrecision, threads: int | None
) -> TorchEmbedder:
    return TorchEmbedder(
        _encoder(found),
        fingerprint=float_fingerprint(found),
        precision=precision,
        threads=threads,
    )


def _encoder(found: EncoderFolder) -> Encoder:
    return Encoder.from_pretrained(found.path, prefix=found.prefix, max_length=found.max_length)


def _swap(part: Path, target: Path) -> None:
    """Put `part` in the place of `target`, a folder that may be there already."""
    if target.exists():
        old = part.with_suffix(".old")
        target.rename(old)
        part.rename(target)
        shutil.rmtree(old)
    else:
        part.rename(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
