"""`triptych embed`: a table of texts in, their vectors out, row for row."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from pipelines.predict import SHARD_TEXTS, texts_of
from shared.device import Device
from shared.inference.model_encoders import open_base_encoder
from shared.pretrained import resolve
from shared.settings import Home
from shared.shards import Engine, Work, run_shards


@dataclass(frozen=True)
class Embedded:
    """What the job wrote. dim: width of a vector. fingerprint: of the vectors; only those of one
    fingerprint may be compared. resumed, computing: see shards.ShardsDone."""

    base: str
    rows: int
    dim: int
    fingerprint: str
    output: str
    seconds: float
    resumed: int
    computing: float

    @property
    def line(self) -> str:
        rate = self.rows / self.seconds if self.seconds else 0
        return (
            f"{self.rows} vectors of {self.dim} numbers by {self.base} in {self.seconds:.1f} s "
            f"({rate:.0f} texts a second): {self.output}"
        )

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class Embedding:
    """Vectors of length 1 by a base encoder, which each worker opens for itself.

    fingerprint: the vectors must have it, so that workers on machines of another make give none
    that cannot be compared.
    """

    base: str
    home: Home
    threads: int | None
    device: Device
    fingerprint: str

    def open(self) -> Work:
        embedder = open_base_encoder(
            resolve(self.base, cache=self.home.cache),
            cache=self.home.cache,
            threads=self.threads,
            device=self.device,
            fingerprint=self.fingerprint,
        )

        def embed(texts: Sequence[str]) -> pd.DataFrame:
            return pd.DataFrame({"text": list(texts), "vector": list(embedder.encode(texts))})

        return embed


def embed_table(
    base: str,
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
) -> Embedded:
    """Write `text,vector` of each row of `input_file`, in its order.

    base: as --base of training. threads: of each worker. engine: by default this process.

    Raises:
        DataError: the input cannot be read or has no text column, or the output not be written.
        ModelError: no such encoder. SettingsError: the device is not there.
        ServiceError: the engine gave up on a shard.
    """
    started = time.monotonic()
    texts = texts_of(input_file, mapping)
    # Opened here as well: an export to int8 is made once, before workers ask for it.
    embedder = open_base_encoder(
        resolve(base, cache=home.cache), cache=home.cache, threads=threads, device=device
    )
    done = run_shards(
        Embedding(base, home, threads, device, embedder.fingerprint),
        texts,
        plan={"job": "embed", "fingerprint": embedder.fingerprint, "device": device},
        output=output,
        shard_keys=shard_texts,
        say=say,
        noun="texts",
        engine=engine,
    )
    return Embedded(
        base,
        done.rows,
        embedder.dim,
        embedder.fingerprint,
        str(output),
        time.monotonic() - started,
        done.resumed,
        done.computing,
    )
