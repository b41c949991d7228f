"""Texts to vectors, fast: torch in fp32 or bf16, ONNX Runtime in int8.

Importing this file, and encoding in int8, loads neither torch nor transformers.
"""

import copy
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from shared.atomic import alone
from shared.device import Device, serving_device
from shared.errors import ModelError, ModelNotFoundError, SettingsError
from shared.inference.batches import TextTokens, encode_texts, unit_length
from shared.inference.parity import PARITY_FILE, ParityReport
from shared.inference.static_table import StaticEmbedder
from shared.inference.vector_cache import CachedEmbedder
from shared.modeling.adapter import Adapter
from shared.modeling.encoder_folder import EncoderFolder, read_encoder_folder, read_json_object

Precision = Literal["auto", "fp32", "bf16", "int8"]

ONNX_FOLDER = "onnx"
ONNX_FILE = "encoder.int8.onnx"
TOKENIZER_FILE = "tokenizer.json"
ONNX_DESCRIPTION_FILE = "encoder.json"
# Names the way int8 vectors are computed (token_quantisation.py): change it when they change.
INT8_RECIPE = "int8t2"
# Of static_quantisation.py, for an encoder that has this file beside its weights.
STATIC_INT8_RECIPE = "int8s1"
CALIBRATION_FILE = "calibration.json"

_log = logging.getLogger(__name__)


class Embedder(Protocol):
    """Turns texts into vectors.

    dim: width of a vector. fingerprint: names weights, tokenizer, pooling, prefix, length and
    family of precision; vectors of two embedders may be compared only where it is equal. fp32 and
    bf16 are one family ("float"): their vectors agree to a cosine of .9999. int8 is another.
    """

    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        """(len(texts), dim), row i for texts[i]; unit length if normalised."""
        ...

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(len(texts), k * dim): k views of the text side by side, for classifiers. The first is
        its vector, not normalised; the others are those of modeling.encoder.Encoder.features."""
        ...


@runtime_checkable
class AdaptableEmbedder(Embedder, Protocol):
    """An embedder that serves adapters beside its own vectors, any number of them at once."""

    def with_adapter(self, adapter: Adapter) -> Embedder:
        """The same encoder, its weights shared, with what `adapter` adds.

        Raises ModelError: the adapter was made for another encoder, or has no place in this one.
        """
        ...


class OnnxEmbedder:
    """See AdaptableEmbedder. int8, on processors; safe to use from several threads.

    Each batch is computed by one thread and `threads` batches at a time: short texts leave too
    little in one batch for two threads to share. A text's vector does not depend on the texts
    beside it, but for the rounding of the fp32 parts (1e-6).
    """

    precision: Literal["int8"] = "int8"

    def __init__(self, folder: Path, *, threads: int | None = None, batch_size: int = 32) -> None:
        """folder: what export_int8 wrote. threads: None for all processors of this process.

        Raises ModelNotFoundError or ModelError, naming the file that is missing or damaged.
        """
        said = read_json_object(_present(folder / ONNX_DESCRIPTION_FILE))
        try:
            for name in (ONNX_FILE, TOKENIZER_FILE):
                _check_sha256(_present(folder / name), said["sha256"][name])
            self.dim = int(said["dim"])
            self._width = int(said["width"])
            self.fingerprint = str(said["fingerprint"])
            self._tokens = TextTokens(
                Tokenizer.from_file(str(folder / TOKENIZER_FILE)),
                prefix=str(said["prefix"]),
                max_length=int(said["max_length"]),
                pad_token_id=int(said["pad_token_id"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{folder / ONNX_DESCRIPTION_FILE}: unexpected content ({error!r}); export again"
            ) from error
        self._session = one_thread_session(folder / ONNX_FILE)
        self._threads = len(os.sched_getaffinity(0)) if threads is None else threads
        self._batch_size = batch_size
        self._adapter: dict[str, NDArray[np.float32]] = {}

    def with_adapter(self, adapter: Adapter) -> "OnnxEmbedder":
        """See AdaptableEmbedder."""
        adapter.check_base(self.fingerprint)
        places = {place.name: place.shape for place in self._session.get_overridable_initializers()}
        matrices = adapter.tensors()
        for name, matrix in matrices.items():
            # The rank is free: a name stands in its place.
            sizes = zip(places.get(name, ()), matrix.shape, strict=False)
            if name not in places or any(isinstance(a, int) and a != b for a, b in sizes):
                raise ModelError(
                    f"the int8 encoder {self.fingerprint} has no place for {name} of shape "
                    f"{matrix.shape}; remove its export, so that it is made again, or train again"
                )
        adapted = copy.copy(self)
        adapted.fingerprint = adapter.fingerprint(self.fingerprint)
        adapted._adapter = matrices
        adapted._tokens = self._tokens.cut_at(adapter.max_length)
        return adapted

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        """(len(texts), dim) in the order of `texts`."""
        vectors = self.features(texts)[:, : self.dim]
        return unit_length(vectors) if normalised else np.ascontiguousarray(vectors)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See Embedder; in the order of `texts`."""
        return encode_texts(
            texts,
            tokens=self._tokens,
            forward=self._forward,
            width=self._width,
            batch_size=self._batch_size,
            workers=self._threads,
        )

    def _forward(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        given = {"input_ids": ids, "attention_mask": mask, **self._adapter}
        (features,) = self._session.run(None, given)
        result: NDArray[np.float32] = features
        return result


def float_fingerprint(folder: EncoderFolder) -> str:
    """Fingerprint of the torch family (fp32 and bf16)."""
    return f"float-{folder.digest()[:32]}"


def int8_fingerprint(folder: EncoderFolder) -> str:
    """Fingerprint of the int8 runtime exported from `folder`, by its calibration if it has one."""
    calibration = folder.path / CALIBRATION_FILE
    if not calibration.is_file():
        return f"{INT8_RECIPE}-{folder.digest()[:32]}"
    together = hashlib.sha256(folder.digest().encode() + calibration.read_bytes())
    return f"{STATIC_INT8_RECIPE}-{together.hexdigest()[:32]}"


def load_embedder(
    folder: Path,
    *,
    precision: Precision = "auto",
    threads: int | None = None,
    batch_size: int = 32,
    cache: Path | None = None,
    cache_vectors: Path | None = None,
    prefix: str | None = None,
    max_length: int | None = None,
    fingerprint: str | None = None,
    device: Device = "auto",
) -> Embedder:
    """The embedder of the encoder in `folder`.

    precision: "auto" takes int8 if its parity check passed, else bf16 if that passed, else fp32,
    and says why in one log line; fp32 where nothing was ever exported. The export is looked for in
    <folder>/onnx and, with `cache` (Home.cache), in <cache>/onnx/<fingerprint>, where it is made
    on first use, once also for several processes.
    threads: None for the library's default. cache_vectors: an SQLite file of vectors known from
    before. prefix, max_length: where given, win over what the folder says.
    fingerprint: that of vectors kept from before, which new ones must fit: "auto" then chooses
    within that family.
    device: "auto" takes CUDA where there is a GPU, in bf16 where it has that, unless int8 is asked
    for by name or by fingerprint, which runs on processors only.

    Raises:
        ModelNotFoundError, ModelError: the folder holds no encoder that can be used, int8 was
            asked for by name and is not there, or another fingerprint was asked for.
        SettingsError: the device asked for is not there, or cannot compute int8.
    """
    found = read_encoder_folder(folder, prefix=prefix, max_length=max_length)
    embedder: Embedder
    if not found.has_layers:
        embedder = _static_embedder(found, precision, fingerprint, batch_size)
        return embedder if cache_vectors is None else CachedEmbedder(embedder, cache_vectors)
    place = _place(found, precision, fingerprint, device)
    if place == "cuda" and precision == "auto" and fingerprint in (None, float_fingerprint(found)):
        precision = _gpu_precision()
    if fingerprint is not None:
        precision = _within_family(found, precision, fingerprint)
    if precision in ("auto", "int8"):
        export = _find_export(found, cache, threads)
        chosen = _choose(found, export, precision)
    else:
        export, chosen = None, precision
    if chosen == "int8" and export is not None:
        embedder = OnnxEmbedder(export, threads=threads, batch_size=batch_size)
    else:
        embedder = _torch_embedder(found, chosen, threads, batch_size, place)
    return embedder if cache_vectors is None else CachedEmbedder(embedder, cache_vectors)


def _static_embedder(
    found: EncoderFolder, precision: Precision, fingerprint: str | None, batch_size: int
) -> Embedder:
    """There is one way to compute it, on processors, whatever the machine."""
    if precision == "int8":
        raise ModelError(f"{found.path}: a static encoder has no int8 form; use precision auto")
    if fingerprint is not None:
        _within_family(found, "fp32", fingerprint)
    return StaticEmbedder(found, fingerprint=float_fingerprint(found), batch_size=batch_size)


def _place(
    found: EncoderFolder, precision: Precision, fingerprint: str | None, device: Device
) -> Literal["cpu", "cuda"]:
    """Where to compute. int8 is a matter of processors, so it decides before a GPU does."""
    place = serving_device(device)
    if place == "cuda" and (precision == "int8" or fingerprint == int8_fingerprint(found)):
        if device == "cuda":
            raise SettingsError(
                f"device = 'cuda': {found.path} is asked for int8 vectors, which are computed on "
                "processors; use auto or cpu, or train again with --device cuda"
            )
        return "cpu"
    return place


def _gpu_precision() -> Precision:
    """What this machine's GPU has in hardware."""
    import torch

    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


def _within_family(found: EncoderFolder, precision: Precision, fingerprint: str) -> Precision:
    """What "auto" may be, so that the embedder has this fingerprint."""
    int8, floating = int8_fingerprint(found), float_fingerprint(found)
    if fingerprint == int8 and precision in ("auto", "int8"):
        return "int8"
    if fingerprint == floating and precision != "int8":
        # The family's other member, bf16, is a choice of speed, so nothing is exported for it.
        return "fp32" if precision == "auto" else precision
    offered = {"auto": f"{int8} or {floating}", "int8": int8}.get(precision, floating)
    raise ModelError(
        f"{found.path}: gives vectors {offered}, but {fingerprint} is needed; "
        "use the encoder and the precision of training, or train again"
    )


def _choose(found: EncoderFolder, export: Path | None, precision: Precision) -> Precision:
    if export is None:
        if precision == "int8":
            raise ModelError(
                f"{found.path}: no int8 export that fits these weights in {ONNX_FOLDER}/; "
                "export it, or use precision auto, bf16 or fp32"
            )
        return "fp32"
    report = ParityReport.read(export)
    reasons = "; ".join(report.int8_failures)
    if precision == "int8":
        if report.int8 is None:
            raise ModelError(f"{found.path}: int8 cannot be used ({reasons}); use auto or fp32")
        if reasons:
            _log.warning("%s: int8 as asked, though it missed parity: %s", found.path, reasons)
        return "int8"
    if report.best != "int8":
        _log.warning("%s: %s instead of int8: %s", found.path, report.best, reasons)
    return report.best


def _find_export(found: EncoderFolder, cache: Path | None, threads: int | None) -> Path | None:
    """The folder of an export of just these weights; made in the cache if there is none."""
    wanted = int8_fingerprint(found)
    own = found.path / ONNX_FOLDER
    if (own / PARITY_FILE).is_file() and ParityReport.read(own).fingerprint == wanted:
        return own
    if cache is None:
        return None
    kept = cache / "onnx" / wanted
    if _is_whole(kept, wanted):
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with alone(kept.parent / f"{wanted}.lock"):
            if not _is_whole(kept, wanted):
                _export(found, kept, threads)
    except OSError as error:
        _log.warning("%s: fp32, because int8 cannot be kept in %s: %s", found.path, cache, error)
        return None
    return kept


def _export(found: EncoderFolder, target: Path, threads: int | None) -> None:
    # Deferred: needed once for each encoder, and loads torch.
    from shared.inference.export import export_int8

    _log.info("%s: exporting to int8, once; kept in %s", found.path, target)
    export_int8(
        found.path, target, threads=threads, prefix=found.prefix, max_length=found.max_length
    )


def _is_whole(folder: Path, fingerprint: str) -> bool:
    """Whether the cache holds the export undamaged; otherwise it is made anew."""
    try:
        report = ParityReport.read(folder)
        if report.fingerprint != fingerprint:
            return False
        if report.int8 is not None:
            said = read_json_object(folder / ONNX_DESCRIPTION_FILE)
            if "adapters" not in said:
                return False  # of a version whose exports had no room for them
            for name in (ONNX_FILE, TOKENIZER_FILE):
                _check_sha256(folder / name, str(said["sha256"][name]))
    except (ModelError, OSError, KeyError, TypeError):
        return False
    return True


def _torch_embedder(
    found: EncoderFolder,
    precision: Precision,
    threads: int | None,
    batch_size: int,
    device: Literal["cpu", "cuda"],
) -> Embedder:
    # Deferred: an int8 service must not load torch and transformers (4 s and 400 MB).
    from shared.inference.torch_runtime import TorchEmbedder
    from shared.modeling.encoder import Encoder

    return TorchEmbedder(
        Encoder.from_pretrained(found.path, prefix=found.prefix, max_length=found.max_length),
        fingerprint=float_fingerprint(found),
        precision="bf16" if precision == "bf16" else "fp32",
        threads=threads,
        batch_size=batch_size,
        device=device,
    )


def one_thread_session(model: Path | bytes) -> Any:
    """An ONNX Runtime session on processors. model: a file, or its content."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Threads that spin while they wait make a shared machine slower, not this process quicker.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def _present(path: Path) -> Path:
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; export the encoder to int8 again")
    return path


def _check_sha256(path: Path, digest: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != digest:
        raise ModelError(
            f"{path}: sha256 differs from the one in {ONNX_DESCRIPTION_FILE}; export again"
        )
