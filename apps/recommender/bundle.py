"""The model folder: catalogue, log, vectors, tables and models of one training, as one unit.

recommender.json      format, encoder (name, sha256), what was trained
settings.json         the settings it was trained with
items.parquet         the catalogue           events.parquet, users.parquet   the log
vectors.safetensors   whitened text vectors   whitening.safetensors           how they were made
sequence.*            the residual model      tables.safetensors              neighbours
ranking.json, .txt    the final ranking       encoder/                        where fine-tuned
repeats.json          how likely what was taken is taken again, where it is
takings.parquet       when it was taken
hidden.parquet        what users have hidden, where they have
meaning_index/, moved_index/                  of a catalogue too large to be searched whole
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from apps.recommender.catalog import Catalog
from apps.recommender.event_joining import NOTHING_HIDDEN, Hidden
from apps.recommender.interactions import Interactions
from apps.recommender.popularity import item_clock
from apps.recommender.ranking import Ranking, load_ranking, save_ranking
from apps.recommender.repeats import Chance, RepeatModel, Repeats
from apps.recommender.retrieval import Channels, build_channels
from apps.recommender.sequence_model import load_model, save_model
from apps.recommender.settings import RecommenderSettings
from apps.recommender.takings import Takings
from apps.recommender.vectors import Whitening, load_whitening
from shared.errors import ModelError
from shared.inference.vector_index import VectorIndex

FORMAT = 1
ABOUT = "recommender.json"
SETTINGS = "settings.json"
ITEMS = "items.parquet"
EVENTS = "events.parquet"
USERS = "users.parquet"
VECTORS = "vectors.safetensors"
TABLES = "tables.safetensors"
REPEATS = "repeats.json"
TAKINGS = "takings.parquet"
HIDDEN = "hidden.parquet"
ENCODER = "encoder"
MEANING_INDEX, MOVED_INDEX = "meaning_index", "moved_index"


@dataclass(frozen=True)
class EncoderNote:
    """Which encoder made the vectors. folder: inside the model folder, "" for a base by name."""

    name: str
    sha256: str
    fingerprint: str
    folder: str = ""


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything serving needs. repeats: None where what was taken is not offered again."""

    catalog: Catalog
    channels: Channels
    ranking: Ranking
    whitening: Whitening
    encoder: EncoderNote
    repeats: Repeats | None = None

    @property
    def log(self) -> Interactions:
        return self.channels.log

    @property
    def settings(self) -> RecommenderSettings:
        return self.channels.settings


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write the folder's files; an encoder of its own is already there."""
    channels, log = bundle.channels, bundle.log
    folder.mkdir(parents=True, exist_ok=True)
    bundle.catalog.frame.to_parquet(folder / ITEMS, index=False)
    pd.DataFrame({"user_id": pd.Series(log.users, dtype="str")}).to_parquet(
        folder / USERS, index=False
    )
    columns = {"user": log.user, "item": log.item, "time": log.time, "weight": log.weight}
    pd.DataFrame(columns).to_parquet(folder / EVENTS, index=False)
    if len(log.hidden):
        pd.DataFrame(vars(log.hidden)).to_parquet(folder / HIDDEN, index=False)
    save_file({"meaning": np.ascontiguousarray(channels.meaning)}, folder / VECTORS)
    save_file(
        _packed("together", channels.together)
        | _packed("words", channels.words)
        | _packed("meant", channels.meant),
        folder / TABLES,
    )
    for name, index in (
        (MEANING_INDEX, channels.meaning_index),
        (MOVED_INDEX, channels.moved_index),
    ):
        # Vectors that are searched whole are an index as soon as they are read.
        if index.kind != "flat":
            index.save(folder / name)
    bundle.whitening.save(folder)
    save_model(channels.sequence, folder)
    save_ranking(bundle.ranking, folder)
    if bundle.repeats is not None:
        _save_repeats(bundle.repeats, folder)
    (folder / SETTINGS).write_text(bundle.settings.model_dump_json(indent=2) + "\n")
    about = {
        "format": FORMAT,
        "encoder": asdict(bundle.encoder),
        "has_clock": log.has_clock,
        "items": len(bundle.catalog),
        "users": log.n_users,
        "events": len(log),
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n")


def _save_repeats(repeats: Repeats, folder: Path) -> None:
    takings = repeats.takings
    columns = {"user": takings.user, "item": takings.item, "time": takings.time}
    pd.DataFrame(columns).to_parquet(folder / TAKINGS, index=False)
    (folder / REPEATS).write_text(json.dumps(asdict(repeats.model), indent=2) + "\n")


def _load_repeats(folder: Path, n_users: int, n_items: int) -> Repeats | None:
    if not (folder / REPEATS).is_file():
        return None
    said = json.loads((folder / REPEATS).read_text())
    chances = {
        name: Chance(tuple(said[name]["weights"]), said[name]["intercept"])
        for name in ("taken", "placed")
    }
    model = RepeatModel(**(said | chances | {"kinds": tuple(said["kinds"])}))
    taken = pd.read_parquet(folder / TAKINGS)
    takings = Takings(
        taken["user"].to_numpy(np.int32),
        taken["item"].to_numpy(np.int32),
        taken["time"].to_numpy(np.int64),
    )
    return Repeats(model, takings, n_users, n_items)


def _load_hidden(folder: Path) -> Hidden:
    if not (folder / HIDDEN).is_file():
        return NOTHING_HIDDEN
    told = pd.read_parquet(folder / HIDDEN)
    return Hidden(
        told["user"].to_numpy(np.int32),
        told["item"].to_numpy(np.int32),
        told["time"].to_numpy(np.int64),
        told["weight"].to_numpy(np.float32),
    )


def load_bundle(folder: Path) -> Bundle:
    """Raises: ModelError when a file is missing, damaged or of another format."""
    if not (folder / ABOUT).is_file():
        raise ModelError(f"{folder}: holds no recommender ({ABOUT} is missing)")
    try:
        return _load(folder)
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError,
            ValidationError) as error:  # fmt: skip
        first = str(error).splitlines()[0] if str(error) else repr(error)
        raise ModelError(f"{folder}: the model folder is damaged: {first}") from None


def folder_fingerprint(folder: Path) -> str:
    """sha256 over the files that decide a list, 32 hex digits."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".safetensors", ".parquet", ".txt") or path.name in (
            ABOUT,
            SETTINGS,
            REPEATS,
        ):
            with path.open("rb") as stream:
                digest.update(f"{path.name}\0".encode())
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:32]


def _load(folder: Path) -> Bundle:
    about = json.loads((folder / ABOUT).read_text())
    if about["format"] != FORMAT:
        raise ModelError(f"{folder}: has format {about['format']}, this version reads {FORMAT}")
    settings = RecommenderSettings.model_validate_json((folder / SETTINGS).read_text())
    catalog = Catalog(pd.read_parquet(folder / ITEMS))
    events = pd.read_parquet(folder / EVENTS)
    log = Interactions(
        tuple(pd.read_parquet(folder / USERS)["user_id"].astype("str")),
        len(catalog),
        events["user"].to_numpy(np.int32),
        events["item"].to_numpy(np.int32),
        events["time"].to_numpy(np.int64),
        events["weight"].to_numpy(np.float32),
        bool(about["has_clock"]),
        hidden=_load_hidden(folder),
    )
    meaning = load_file(folder / VECTORS)["meaning"]
    tables = load_file(folder / TABLES)
    none = sp.csr_matrix((len(catalog), len(catalog)), dtype=np.float32)
    encoder = EncoderNote(**about["encoder"])
    channels = build_channels(
        log,
        settings,
        meaning=meaning,
        sequence=load_model(folder, meaning),
        together=_unpacked(tables, "together", len(catalog)),
        words=_unpacked(tables, "words", len(catalog)),
        # A model of an older version was taught by relatives in words alone.
        meant=_unpacked(tables, "meant", len(catalog)) if "meant.values" in tables else none,
        clock=item_clock(log),
        fingerprint=encoder.fingerprint,
        meaning_index=_stored_index(folder / MEANING_INDEX, encoder),
        moved_index=_stored_index(folder / MOVED_INDEX, encoder),
    )
    return Bundle(
        catalog,
        channels,
        load_ranking(folder),
        load_whitening(folder),
        encoder,
        _load_repeats(folder, log.n_users, log.n_items),
    )


def _stored_index(folder: Path, encoder: EncoderNote) -> VectorIndex | None:
    if not folder.is_dir():
        return None
    return VectorIndex.load(folder, encoder_fingerprint=encoder.fingerprint)


def _packed(name: str, table: sp.csr_matrix) -> dict[str, NDArray[np.generic]]:
    return {
        f"{name}.values": np.ascontiguousarray(table.data, np.float32),
        f"{name}.columns": np.ascontiguousarray(table.indices, np.int32),
        f"{name}.starts": np.ascontiguousarray(table.indptr, np.int64),
    }


def _unpacked(tensors: Mapping[str, NDArray[np.generic]], name: str, count: int) -> sp.csr_matrix:
    return sp.csr_matrix(
        (tensors[f"{name}.values"], tensors[f"{name}.columns"], tensors[f"{name}.starts"]),
        shape=(count, count),
    )
