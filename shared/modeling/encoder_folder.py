"""What an encoder folder says about itself, read without torch and without transformers.

Three kinds of folder are understood: our own (triptych_encoder.json), those of
sentence-transformers (modules.json, old and new layout) and plain Hugging Face folders.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shared.errors import ModelError, ModelNotFoundError

Pooling = Literal["mean", "cls"]

DESCRIPTION_FILE = "triptych_encoder.json"
# The model_type of an encoder that is a table of token vectors without layers.
STATIC_MODEL = "triptych-static"
DEFAULT_MAX_LENGTH = 128
# A safetensors header is JSON; the format's own limit on its length is 100 MB.
_LARGEST_HEADER = 100_000_000
# These families keep position 0..padding_idx for padding, so two positions are not usable.
_OFFSET_POSITIONS = {"mpnet", "xlm-roberta", "roberta", "camembert", "xlm-roberta-xl"}


@dataclass(frozen=True)
class EncoderFolder:
    """One encoder on disk.

    path: the folder as named by the caller. weights: the folder that holds config.json, the
    safetensors and the tokenizer (the same one, or "0_Transformer" in it). dim: width of a vector.
    prefix: put before every text ("query: " for E5). max_length: tokens kept, special ones
    included. pooling: how token vectors become one.
    """

    path: Path
    weights: Path
    dim: int
    prefix: str
    max_length: int
    pooling: Pooling
    model_type: str
    pad_token_id: int

    @property
    def has_layers(self) -> bool:
        """Whether there is anything to fine-tune."""
        return self.model_type != STATIC_MODEL

    def weight_files(self) -> tuple[Path, ...]:
        """The safetensors files, in name order."""
        return _weight_files(self.weights)

    def digest(self) -> str:
        """sha256 over everything that decides a vector: weights, config, tokenizer, pooling,
        prefix and length. Hex, 64 characters. Reads the whole weights (about 1 GB/s)."""
        total = hashlib.sha256()
        files = (*self.weight_files(), self.weights / "config.json", *self._tokenizer_files())
        for file in files:
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
        total.update(json.dumps([self.pooling, self.prefix, self.max_length]).encode())
        return total.hexdigest()

    def _tokenizer_files(self) -> tuple[Path, ...]:
        fast = self.weights / "tokenizer.json"
        if fast.is_file():
            return (fast,)
        slow = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model")
        return tuple(self.weights / name for name in slow if (self.weights / name).is_file())


def read_encoder_folder(
    folder: Path, *, prefix: str | None = None, max_length: int | None = None
) -> EncoderFolder:
    """Describe the encoder in `folder`.

    prefix and max_length, where given, win over what the folder says. Without either, a foreign
    folder is cut at 128 tokens (or at its own limit, if that is shorter).

    Raises:
        ModelNotFoundError: no such folder, or nothing in it that is an encoder.
        ModelError: pickled weights only, damaged safetensors or JSON, an unsupported pooling,
            or a length the model has no positions for.
    """
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder}: no such folder; expected a folder with an encoder")
    modules = _read_modules(folder)
    weights = folder / modules[0] if modules else folder
    if not (weights / "config.json").is_file():
        raise ModelNotFoundError(
            f"{weights}: no config.json; expected a Hugging Face or sentence-transformers folder"
        )
    _check_weights(weights)
    config = read_json_object(weights / "config.json")
    own = folder / DESCRIPTION_FILE
    said = read_json_object(own) if own.is_file() else {}
    if prefix is None:
        prefix = str(said["prefix"]) if "prefix" in said else _prompt(folder)
    return EncoderFolder(
        path=folder,
        weights=weights,
        dim=_positive(config, "hidden_size", weights / "config.json"),
        prefix=prefix,
        max_length=_length(max_length, said, config, folder, weights),
        pooling=_pooling(folder, said, modules),
        model_type=str(config.get("model_type", "")),
        pad_token_id=int(config.get("pad_token_id") or 0),
    )


def read_json_object(path: Path) -> dict[str, Any]:
    """Raises ModelError naming the file if it cannot be read or is no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged or unreadable JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def check_safetensors(path: Path) -> None:
    """Compare the length of the file with what its own header promises.

    Raises:
        ModelError: naming the file, if the header cannot be read or bytes are missing or extra.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _LARGEST_HEADER + 1
        if length > min(_LARGEST_HEADER, size - 8):
            raise ModelError(f"{path}: no safetensors header; the file is damaged, fetch it again")
        try:
            header = json.loads(stream.read(length))
            spans = [e["data_offsets"] for name, e in header.items() if name != "__metadata__"]
            expected = 8 + length + max((int(end) for _, end in spans), default=0)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{path}: unreadable safetensors header; the file is damaged, fetch it again"
            ) from error
    if size != expected:
        raise ModelError(
            f"{path}: {size} bytes where its header promises {expected}; "
            "the file is damaged, fetch it again"
        )


def _weight_files(weights: Path) -> tuple[Path, ...]:
    """Named as Hugging Face names them, so that heads.safetensors beside them is not one."""
    return tuple(sorted(weights.glob("model*.safetensors")))


def _check_weights(weights: Path) -> None:
    files = _weight_files(weights)
    if not files:
        pickled = sorted(p.name for p in weights.iterdir() if p.suffix in {".bin", ".pt", ".pkl"})
        if pickled:
            raise ModelError(
                f"{weights}: only pickled weights ({', '.join(pickled)}), which can run code when "
                "loaded; expected model.safetensors: convert them where you trust the file"
            )
        raise ModelNotFoundError(f"{weights}: no model.safetensors; expected the encoder's weights")
    for file in files:
        check_safetensors(file)


def _read_modules(folder: Path) -> list[str]:
    """Sub-folders of a sentence-transformers pipeline, first the transformer, then the pooling."""
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        kinds = [(str(m["type"]).rsplit(".", 1)[-1], str(m["path"])) for m in modules]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: damaged or unreadable JSON ({error}); fetch it again") from error
    unknown = sorted({kind for kind, _ in kinds} - {"Transformer", "Pooling", "Normalize"})
    if unknown or not kinds or kinds[0][0] != "Transformer":
        raise ModelError(
            f"{path}: modules {', '.join(kind for kind, _ in kinds) or 'none'}; "
            "allowed are Transformer, Pooling and Normalize, in this order"
        )
    for _, sub in kinds:
        # A model folder is untrusted: it may only point inside itself.
        if not (folder / sub).resolve().is_relative_to(folder.resolve()):
            raise ModelError(f"{path}: module path '{sub}' leaves the model folder")
    return [sub for kind, sub in kinds if kind != "Normalize"]


def _pooling(folder: Path, said: dict[str, Any], modules: list[str]) -> Pooling:
    if "pooling" in said:
        name, place = str(said["pooling"]), folder / DESCRIPTION_FILE
    elif len(modules) > 1:
        place = folder / modules[1] / "config.json"
        config = read_json_object(place)
        old = {
            "pooling_mode_mean_tokens": "mean",
            "pooling_mode_cls_token": "cls",
            "pooling_mode_max_tokens": "max",
            "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
        }
        chosen = [name for key, name in old.items() if config.get(key)]
        name = str(config.get("pooling_mode", "+".join(chosen)))
    else:
        return "mean"
    if name == "mean":
        return "mean"
    if name == "cls":
        return "cls"
    raise ModelError(f"{place}: pooling '{name}'; allowed are mean and cls")


def _prompt(folder: Path) -> str:
    path = folder / "config_sentence_transformers.json"
    if not path.is_file():
        return ""
    config = read_json_object(path)
    default = config.get("default_prompt_name")
    prompts = config.get("prompts") or {}
    return str(prompts.get(default, "")) if default else ""


def _length(
    asked: int | None,
    said: dict[str, Any],
    config: dict[str, Any],
    folder: Path,
    weights: Path,
) -> int:
    positions = _positive(config, "max_position_embeddings", weights / "config.json")
    if config.get("model_type") in _OFFSET_POSITIONS:
        positions -= 2
    if asked is None and "max_length" in said:
        asked = _positive(said, "max_length", folder / DESCRIPTION_FILE)
    if asked is not None:
        if not 3 <= asked <= positions:
            raise ModelError(
                f"{folder}: max_length = {asked}; allowed is 3 to {positions} tokens "
                "(the positions this encoder was made with)"
            )
        return asked
    limits = [DEFAULT_MAX_LENGTH, positions]
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        file = weights / name
        value = read_json_object(file).get(key) if file.is_file() else None
        if isinstance(value, int) and value > 0:
            limits.append(value)
    return min(limits)


def _positive(config: dict[str, Any], key: str, place: Path) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ModelError(f"{place}: {key} = {value!r}; expected a whole number above 0")
    return value
