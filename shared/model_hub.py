"""Encoders from a model hub (huggingface.co, or what HF_ENDPOINT names): safetensors and JSON."""

import shutil
from pathlib import Path

import httpx
from httpx2 import HTTPError  # what huggingface_hub speaks through
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from shared.errors import ModelNotFoundError, ServiceError

# Weights that are pickles, other frameworks' copies and exported graphs stay where they are.
WANTED = ("*.json", "*.txt", "*.model", "*.safetensors", "README.md", "LICENSE*")
UNWANTED = ("onnx/*", "openvino/*", "*/pytorch_model*", "coreml/*")
CONNECT_SECONDS = 5.0


def cached_snapshot(hub_id: str, revision: str | None) -> Path | None:
    """The snapshot in the local hub cache, if it is there; no connection is opened."""
    try:
        path = Path(
            snapshot_download(
                hub_id,
                revision=revision,
                local_files_only=True,
                # Without them it counts the files that were left out on purpose as missing.
                allow_patterns=list(WANTED),
                ignore_patterns=list(UNWANTED),
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return path if any(path.rglob("*.safetensors")) else None


def download_snapshot(hub_id: str, revision: str | None, target: Path | None = None) -> Path:
    """Download an encoder into the hub cache, or into the folder `target`; goes on after a break.

    Raises:
        ModelNotFoundError: the hub has no such model or revision, or asks for permission.
        ServiceError: the hub is switched off, not reached, or breaks off.
    """
    name = f"{hub_id}@{revision}" if revision else hub_id
    _check_reached()
    try:
        path = snapshot_download(
            hub_id,
            revision=revision,
            local_dir=target,
            allow_patterns=list(WANTED),
            ignore_patterns=list(UNWANTED),
            etag_timeout=CONNECT_SECONDS,
        )
    except GatedRepoError:
        raise ModelNotFoundError(
            f"{name}: {constants.ENDPOINT} asks for permission; set HF_TOKEN, or choose another"
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError, HFValidationError):
        raise ModelNotFoundError(f"{name}: {constants.ENDPOINT} has no such model") from None
    except (HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ServiceError(f"{name}: {constants.ENDPOINT} breaks off: {reason}") from error
    if target is not None:
        shutil.rmtree(target / ".cache", ignore_errors=True)  # the hub's notes on what it fetched
    return Path(path)


def _check_reached() -> None:
    """Ask the hub for anything at all: its client would try for minutes where there is none."""
    if constants.HF_HUB_OFFLINE:
        raise ServiceError("the model hub is switched off (HF_HUB_OFFLINE)")
    try:
        httpx.head(f"{constants.ENDPOINT}/api/models", timeout=CONNECT_SECONDS)
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ServiceError(f"the model hub {constants.ENDPOINT} is not reached: {reason}") from None
