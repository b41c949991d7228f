"""A classifier's folder: JSON for names and numbers, safetensors for arrays, no pickle."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from shared.errors import ModelError

FORMAT = 2
JSON_NAME = "classifier.json"
ARRAYS_NAME = "classifier.safetensors"


def write_classifier(
    folder: Path,
    head: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    *,
    halved: Sequence[str],
) -> None:
    """Arrays go in as float32, those named in `halved` as float16: they are the big ones."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {
        name: np.ascontiguousarray(array, dtype=np.float16 if name in halved else np.float32)
        for name, array in arrays.items()
    }
    save_file(stored, folder / ARRAYS_NAME)
    text = json.dumps({"format": FORMAT, **head}, ensure_ascii=False)
    (folder / JSON_NAME).write_text(text, encoding="utf-8")


def read_classifier(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """What write_classifier wrote, every array as float32.

    Raises ModelError: a file is missing, damaged or of another format.
    """
    for name in (JSON_NAME, ARRAYS_NAME):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: not a classifier, there is no {name}")
    try:
        head = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS_NAME)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"{folder}: damaged classifier: {error}") from None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        found = head.get("format") if isinstance(head, dict) else type(head).__name__
        raise ModelError(f"{folder / JSON_NAME}: format {found!r}, expected {FORMAT}")
    return head, {name: array.astype(np.float32) for name, array in arrays.items()}
