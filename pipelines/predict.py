"""Batch prediction: a table in, the same rows labelled out, in the same order."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from shared.registry import Registry
from shared.settings import Home
from shared.tables import Column, read_table, write_table


@dataclass(frozen=True)
class Predicted:
    """What a batch prediction did."""

    model: str
    rows: int
    output: str
    seconds: float

    @property
    def line(self) -> str:
        return f"{self.rows} rows labelled by {self.model} in {self.seconds:.1f} s: {self.output}"

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def labeller_of(
    app: str, folder: Path, home: Home, threads: int | None
) -> Callable[[list[str]], pd.DataFrame]:
    """The serving class of `app`, loaded from a model folder: texts -> one row each."""
    if app == "chatbot":
        from apps.chatbot.bot import Bot

        return Bot.load(folder, home=home, threads=threads).predict_frame
    from apps.news_monitor.labelling import Labeller

    return Labeller.load(folder, home=home, threads=threads).predict_frame


def predict_table(
    app: str,
    model: str,
    input_file: Path,
    output: Path,
    mapping: Mapping[str, str],
    home: Home,
    threads: int | None,
) -> Predicted:
    """Label `input_file` with `model`; empty texts keep their row, so that rows always match.

    Raises:
        DataError: the input cannot be read or has no text column.
        ModelError: the model does not exist, is damaged, or belongs to another application.
    """
    started = time.monotonic()
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(model, app=app)
    table = read_table(
        input_file, [Column("text", allow_empty=True)], mapping=mapping, every_row=True
    )
    label = labeller_of(app, version.path, home, threads)
    frame = label(table.frame["text"].fillna("").tolist())
    write_table(frame, output)
    return Predicted(
        f"{version.name}@{version.version}", len(frame), str(output), time.monotonic() - started
    )
