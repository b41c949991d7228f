"""The encoders behind a model version: the base encoder, and the one fine-tuned from it if any."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from shared.device import Device
from shared.errors import ModelError
from shared.inference.runtime import Embedder, load_embedder
from shared.pretrained import PretrainedEncoder, resolve

ENCODER_FOLDER = "encoder"  # of a model version: its fine-tuned encoder


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
    embedder = (opened or OpenEncoders()).get(
        (base.path, trained.base_fingerprint, threads, device),
        partial(
            open_base_encoder,
            base,
            cache=cache,
            threads=threads,
            fingerprint=trained.base_fingerprint,
            device=device,
        ),
    )
    finetuned = None
    if trained.finetuned_fingerprint is not None:
        finetuned = load_embedder(
            folder / ENCODER_FOLDER,
            threads=threads,
            fingerprint=trained.finetuned_fingerprint,
            device=device,
        )
    return ModelEncoders(embedder, finetuned)
