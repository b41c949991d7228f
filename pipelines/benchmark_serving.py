"""`triptych benchmark serving`: texts a second, milliseconds for one text, memory; against rivals.

Rivals of speed: transformers.pipeline on the same encoder, and on a classifier of BERT-base's size
(110 million parameters, the size of FinBERT; random weights, since only its time is asked for).
Rival of memory: three processes with one application each. Adapters: see benchmark_adapters.py.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from transformers import BertConfig, BertForSequenceClassification, pipeline

from pipelines.benchmark_adapters import PRINT_PEAK, Adapters, benchmark_adapters
from shared.errors import DataError
from shared.inference.model_encoders import open_base_encoder
from shared.inference.throughput import Rate, time_rounds
from shared.inference.torch_runtime import threads_limited
from shared.modeling.encoder import Encoder, quiet_transformers
from shared.pretrained import PretrainedEncoder, resolve
from shared.settings import Home

Say = Callable[[str], None]
OURS, SAME, BERT_BASE = "triptych (int8)", "transformers.pipeline, same model", "BERT-base pipeline"
TABLE = Path("chatbot") / "banking77" / "dnnc_valid.csv"
BATCH, THREADS, ROUNDS = 32, 2, 5
BATCHED_TEXTS, SINGLE_TEXTS = 256, 24
APPS = ("chatbot", "news", "recommender")
# Loads the named applications as `triptych serve` does, asks each once, and says what it held.
PROBE = """
import json, sys
from pathlib import Path
from fastapi.testclient import TestClient
from pipelines.serve import build_service
from shared.settings import Home
home, models = Home(Path(sys.argv[1])), json.loads(sys.argv[2])
client = TestClient(build_service(home, models=models, threads=2))
client.post("/webhooks/rest/webhook", json={"sender": "a", "message": "where is my order"})
client.post("/v1/news/label", json={"texts": ["Shares fall after profit warning"] * 64})
client.post("/v1/recommend", json={"users": ["nobody"], "k": 10})
print(json.dumps(sorted(client.get("/health").json()["models"])))
"""


@dataclass(frozen=True)
class Memory:
    """Peak resident MiB of a process with one application each, and of one with all of them."""

    alone: Mapping[str, float]
    together: float

    @property
    def ratio(self) -> float:
        """Of one process with all to the sum of the others."""
        return self.together / sum(self.alone.values())


@dataclass(frozen=True)
class Serving:
    """batched: BATCH texts at a time; single: one. memory: None without trained models.
    adapters: None where they were not measured."""

    batched: tuple[Rate, ...]
    single: tuple[Rate, ...]
    memory: Memory | None
    adapters: Adapters | None = None

    def lines(self) -> list[str]:
        """For people: each rival beside ours."""
        told = []
        for name, rates in ((f"batch {BATCH}", self.batched), ("one text", self.single)):
            ours = rates[0].texts_per_second
            for rate in rates:
                told.append(
                    f"{name:<9} {rate.name:<34} {1000 / rate.texts_per_second:>8.2f} ms a text"
                    f"{ours / rate.texts_per_second:>8.1f} times our time"
                )
        if self.memory is not None:
            alone = ", ".join(f"{name} {size:.0f}" for name, size in self.memory.alone.items())
            told.append(
                f"memory    all in one process {self.memory.together:.0f} MiB; alone {alone}: "
                f"{self.memory.ratio:.2f} of their sum"
            )
        return told if self.adapters is None else [*told, *self.adapters.lines()]


def benchmark_serving(datasets: Path | None, *, home: Home, say: Say) -> Serving:
    """Measure on short questions of BANKING77; memory with the models released in `home`.

    Raises DataError where the table is not there.
    """
    table = (datasets or home.datasets) / TABLE
    if not table.is_file():
        raise DataError(f"{table} is not there: name the folder of public sets with --datasets")
    texts = pd.read_csv(table, keep_default_na=False)["text"].tolist()[:BATCHED_TEXTS]
    base = resolve("minilm", cache=home.cache)
    ways = _ways(base, home)
    batched = {name: partial(way, texts, BATCH) for name, way in ways.items()}
    some = texts[:SINGLE_TEXTS]
    single = {name: partial(_one_by_one, way, some) for name, way in ways.items()}
    found = Serving(
        time_rounds(batched, len(texts), ROUNDS),
        time_rounds(single, len(some), ROUNDS),
        measure_memory(home, say),
        benchmark_adapters(base, texts, home=home, rounds=ROUNDS, single=SINGLE_TEXTS),
    )
    for line in found.lines():
        say(line)
    return found


Way = Callable[[Sequence[str], int], object]
"""(texts, batch size) -> anything."""


def _ways(base: PretrainedEncoder, home: Home) -> dict[str, Way]:
    embedder = open_base_encoder(base, cache=home.cache, threads=THREADS)
    encoder = Encoder.from_pretrained(base.path, prefix=base.prefix)
    torch.manual_seed(0)
    large = BertForSequenceClassification(BertConfig(num_labels=3)).eval()
    with quiet_transformers():
        features = pipeline(
            "feature-extraction",
            model=encoder.model.eval(),
            tokenizer=encoder.tokenizer,
            device="cpu",
        )
        classify = pipeline(
            "text-classification", model=large, tokenizer=encoder.tokenizer, device="cpu"
        )
    return {
        OURS: lambda texts, _: embedder.features(texts),
        SAME: partial(_piped, features),
        BERT_BASE: partial(_piped, classify),
    }


def _piped(run: Callable[..., object], texts: Sequence[str], batch_size: int) -> object:
    with threads_limited(THREADS), torch.inference_mode():
        return run(list(texts), batch_size=batch_size, truncation=True)


def _one_by_one(way: Way, texts: Sequence[str]) -> None:
    for text in texts:
        way([text], 1)


def measure_memory(home: Home, say: Say) -> Memory | None:
    """With the models named after their applications; None, and a line, where one is missing."""
    models = {app: app for app in APPS}
    together, served = _probe(home, models)
    if served != sorted(APPS):
        say(f"memory is not measured: {home.models} has no model of each application")
        return None
    alone = {app: _probe(home, {**dict.fromkeys(APPS, "-"), app: app})[0] for app in APPS}
    return Memory(alone, together)


def _probe(home: Home, models: Mapping[str, str]) -> tuple[float, list[str]]:
    """Peak MiB of a fresh process that serves these, and what it could serve."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE + PRINT_PEAK, str(home.root), json.dumps(models)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        return 0.0, []
    served, peak = done.stdout.splitlines()[-2:]
    return float(peak), list(json.loads(served))
