"""Batch prediction: a table in, the same rows labelled out, in the same order."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from shared.device import Device
from shared.registry import MANIFEST, ModelVersion, Registry
from shared.settings import Home
from shared.shards import Engine, Work, run_shards
from shared.tables import Column, read_table

# Some seconds of work: what a killed run loses at most, and what a worker is given at a time.
SHARD_TEXTS = 2048


@dataclass(frozen=True)
class Predicted:
    """What a batch prediction did. resumed: rows that an earlier run had labelled. computing:
    seconds spent on labelling, see shards.ShardsDone."""

    model: str
    rows: int
    output: str
    seconds: float
    resumed: int
    computing: float

    @property
    def line(self) -> str:
        return f"{self.rows} rows labelled by {self.model} in {self.seconds:.1f} s: {self.output}"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Labelling:
    """Labels by a released model of `app`, which each worker loads for itself."""

    app: str
    folder: Path
    home: Home
    threads: int | None
    device: Device

    def open(self) -> Work:
        if self.app == "chatbot":
            from apps.chatbot.bot import Bot

            return Bot.load(
                self.folder, home=self.home, threads=self.threads, device=self.device
            ).predict_frame
        from apps.news_monitor.labelling import Labeller

        return Labeller.load(
            self.folder, home=self.home, threads=self.threads, device=self.device
        ).predict_frame


def content_of(version: ModelVersion) -> str:
    """Names what is in a released model: the digest of its manifest, which holds all others."""
    return hashlib.sha256((version.path / MANIFEST).read_bytes()).hexdigest()


def texts_of(input_file: Path, mapping: Mapping[str, str]) -> list[str]:
    """The texts of a table, one for each of its rows; an empty one is "".

    Raises: DataError when the table cannot be read or has no text column.
    """
    table = read_table(
        input_file, [Column("text", allow_empty=True)], mapping=mapping, every_row=True
    )
    return pd.Series(table.frame["text"]).fillna("").tolist()


def predict_table(
    app: str,
    model: str,
    input_file: Path,
    output: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    threads: int | None,
    device: Device = "auto",
    engine: Engine | None = None,
    say: Callable[[str], None] = lambda _: None,
    shard_texts: int = SHARD_TEXTS,
) -> Predicted:
    """Label `input_file` with `model`; empty texts keep their row, so that rows always match.

    threads: of each worker. engine: where labels are made, by default in this process.

    Raises:
        DataError: the input cannot be read or has no text column, or the output not be written.
        ModelError: the model does not exist, is damaged, or belongs to another application.
        SettingsError: the device is not there. ServiceError: the engine gave up on a shard.
    """
    started = time.monotonic()
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(model, app=app)
    texts = texts_of(input_file, mapping)
    job = Labelling(app, version.path, home, threads, device)
    done = run_shards(
        job,
        texts,
        plan={"job": f"predict {app}", "model": content_of(version), "device": device},
        output=output,
        shard_keys=shard_texts,
        say=say,
        engine=engine,
    )
    return Predicted(
        f"{version.name}@{version.version}",
        done.rows,
        str(output),
        time.monotonic() - started,
        done.resumed,
        done.computing,
    )
