"""The encoders behind a model version: the base encoder, and the one fine-tuned from it if any.

A fine-tuned one is kept whole, as every version before adapters was, or as an adapter, which is
served on the base encoder that the process has open.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from shared.device import Device
from shared.errors import ModelError
from shared.inference.runtime import AdaptableEmbedder, Embedder, load_embedder
from shared.modeling.adapter import Adapter, is_adapter
from shared.pretrained import PretrainedEncoder, resolve

ENCODER_FOLDER = "encoder"  # of a model version: its fine-tuned encoder, whole or an adapter


class EncodersOfTraining(Protocol):
    """What a model's configuration says of the encoders that it was trained with.

    base: a name that `resolve` knows. base_fingerprint, finetuned_fingerprint: of the vectors that
    the model knows; None: no fine-tuned encoder.
    """

    @property
    def base(self) -> str: ...
    @property
    def base_sha256(self) -> str: ...
    @property
    def base_fingerprint(self) -> str: ...
    @property
    def finetuned_fingerprint(self) -> str | None: ...


@dataclass(frozen=True)
class ModelEncoders:
    """Embedders of the fingerprints of training. finetuned: None where none was kept."""

    base: Embedder
    finetuned: Embedder | None


class OpenEncoders:
    """The base encoders that this process has open: models trained on the same one share it."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], Embedder] = {}

    def get(self, key: tuple[object, ...], opened: Callable[[], Embedder]) -> Embedder:
        """The embedder under `key`, opened now if it is not yet."""
        if key not in self._open:
            self._open[key] = opened()
        return self._open[key]


def open_base_encoder(
    base: PretrainedEncoder,
    *,
    cache: Path,
    threads: int | None = None,
    fingerprint: str | None = None,
    device: Device = "auto",
) -> Embedder:
    """The embedder of a base encoder, with the prefix that belongs before its texts.

    cache: Home.cache, where its int8 export is kept. fingerprint: of vectors known from before.

    Raises: ModelError and SettingsError as `load_embedder` does.
    """
    return load_embedder(
        base.path,
        prefix=base.prefix,
        cache=cache,
        threads=threads,
        fingerprint=fingerprint,
        device=device,
    )


def open_model_encoders(
    folder: Path,
    trained: EncodersOfTraining,
    *,
    cache: Path,
    threads: int | None = None,
    device: Device = "auto",
    opened: OpenEncoders | None = None,
) -> ModelEncoders:
    """Open what the model version in `folder` was trained with, and nothing else.

    cache: Home.cache, where base encoders and their int8 exports are kept. opened: where a process
    with several models keeps its base encoders.

    Raises:
        ModelNotFoundError: an encoder is not on this machine. ModelError: the base encoder has
            other weights than in training, or an encoder gives vectors of another fingerprint.
        SettingsError: the device asked for is not there, or cannot compute these vectors.
    """
    base = resolve(trained.base, cache=cache)
    if base.sha256 != trained.base_sha256:
        raise ModelError(
            f"{folder}: trained on {trained.base} with sha256 {trained.base_sha256[:12]}…, but "
            f"{base.path} has {base.sha256[:12]}…; train again or restore that encoder"
        )
    opened = OpenEncoders() if opened is None else opened

    def open_base(fingerprint: str) -> Embedder:
        return opened.get(
            (base.path, fingerprint, threads, device),
            partial(
                open_base_encoder,
                base,
                cache=cache,
                threads=threads,
                fingerprint=fingerprint,
                device=device,
            ),
        )

    finetuned = None
    if trained.finetuned_fingerprint is not None:
        finetuned = open_finetuned_encoder(
            folder / ENCODER_FOLDER,
            base=base,
            open_base=open_base,
            fingerprint=trained.finetuned_fingerprint,
            threads=threads,
            device=device,
        )
    return ModelEncoders(open_base(trained.base_fingerprint), finetuned)


def open_finetuned_encoder(
    folder: Path,
    *,
    base: PretrainedEncoder,
    open_base: Callable[[str], Embedder],
    fingerprint: str,
    threads: int | None = None,
    device: Device = "auto",
) -> Embedder:
    """The fine-tuned encoder kept in `folder`; an adapter on what `open_base` gives.

    open_base: fingerprint -> the base encoder with these vectors, opened at most once by whoever
    has several models. fingerprint: of the vectors that the model knows.

    Raises:
        ModelNotFoundError: no encoder. ModelError: a file is damaged, the base encoder is another
            one, or the vectors would have another fingerprint.
        SettingsError: the device asked for is not there, or cannot compute these vectors.
    """
    if not is_adapter(folder):
        return load_embedder(folder, threads=threads, fingerprint=fingerprint, device=device)
    adapter = Adapter.load(folder)
    if adapter.base_fingerprint is None or adapter.base_sha256 != base.sha256:
        raise ModelError(
            f"{folder}: an adapter of the base encoder with sha256 {adapter.base_sha256[:12]}…, "
            f"but {base.path} has {base.sha256[:12]}…; train again or restore that encoder"
        )
    carrier = open_base(adapter.base_fingerprint)
    if not isinstance(carrier, AdaptableEmbedder):
        raise ModelError(f"{folder}: an adapter, which {type(carrier).__name__} does not serve")
    embedder = carrier.with_adapter(adapter)
    if embedder.fingerprint != fingerprint:
        raise ModelError(
            f"{folder}: gives vectors {embedder.fingerprint}, but {fingerprint} is needed; "
            "restore the adapter that this model was trained with, or train again"
        )
    return embedder
