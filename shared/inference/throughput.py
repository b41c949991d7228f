"""How many texts a second each runtime encodes, measured side by side in one process."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import pipeline

from shared.inference.runtime import Precision, load_embedder
from shared.inference.torch_runtime import threads_limited
from shared.modeling.encoder import Encoder, pool, quiet_transformers

PIPELINE = "transformers.pipeline"


@dataclass(frozen=True)
class Rate:
    """One runtime's rounds. texts_per_second: of its median round; best: of its quickest one.
    texts_per_cpu_second: by processor time, all threads, which other work disturbs less."""

    name: str
    texts_per_second: float
    best: float
    texts_per_cpu_second: float


@dataclass(frozen=True)
class Throughput:
    """rates in the order measured; all on the same texts, batch size and threads."""

    rates: tuple[Rate, ...]
    texts: int
    batch_size: int
    threads: int

    def rate(self, name: str) -> Rate:
        """Raises KeyError for a runtime that was not measured."""
        return {rate.name: rate for rate in self.rates}[name]

    def ratio(self, name: str, to: str = "fp32") -> float:
        """How many times as many texts a second as `to`, by the median rounds."""
        return self.rate(name).texts_per_second / self.rate(to).texts_per_second


def measure_throughput(
    folder: Path,
    texts: Sequence[str],
    *,
    precisions: Sequence[Precision] = ("fp32", "bf16", "int8"),
    with_pipeline: bool = True,
    batch_size: int = 32,
    threads: int = 2,
    rounds: int = 5,
    cache: Path | None = None,
    prefix: str | None = None,
    max_length: int | None = None,
) -> Throughput:
    """Encode `texts` with each runtime in turn, `rounds` times over, after one round to warm up.

    with_pipeline: also transformers.pipeline("feature-extraction") in fp32 with its own batching
    and mean pooling after it, as "transformers.pipeline". int8 is looked for, or made, as in
    load_embedder.
    """
    settings: dict[str, Any] = {"prefix": prefix, "max_length": max_length}
    rivals: dict[str, Callable[[], object]] = {}
    for precision in precisions:
        embedder = load_embedder(
            folder,
            precision=precision,
            threads=threads,
            batch_size=batch_size,
            cache=cache,
            **settings,
        )
        rivals[precision] = partial(embedder.encode, texts)
    if with_pipeline:
        encoder = Encoder.from_pretrained(folder, **settings)
        rivals[PIPELINE] = _pipeline_rival(encoder, texts, batch_size, threads)
    return Throughput(time_rounds(rivals, len(texts), rounds), len(texts), batch_size, threads)


def time_rounds(
    rivals: Mapping[str, Callable[[], object]], texts: int, rounds: int
) -> tuple[Rate, ...]:
    """Each rival once to warm up, then `rounds` rounds of all in turn: a slow minute of the
    machine then falls on all of them. texts: how many a run encodes."""
    for run in rivals.values():
        run()
    wall: dict[str, list[float]] = {name: [] for name in rivals}
    processor: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            started, worked = time.perf_counter(), time.process_time()
            run()
            wall[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - worked)
    return tuple(
        Rate(
            name,
            texts_per_second=texts / statistics.median(wall[name]),
            best=texts / min(wall[name]),
            # The clock of the processor may not have ticked at all for a tiny model.
            texts_per_cpu_second=texts / max(statistics.median(processor[name]), 1e-9),
        )
        for name in rivals
    )


def _pipeline_rival(
    encoder: Encoder, texts: Sequence[str], batch_size: int, threads: int
) -> Callable[[], object]:
    with quiet_transformers():
        extract = pipeline(
            "feature-extraction",
            model=encoder.model.eval(),
            tokenizer=encoder.tokenizer,
            device="cpu",
        )
    prefixed = [encoder.prefix + text for text in texts]

    def run() -> object:
        with threads_limited(threads), torch.inference_mode():
            states = extract(
                prefixed, batch_size=batch_size, truncation=True, return_tensors=True
            )  # for each text (1, length of its batch, dim); padding is not told apart
        return np.concatenate(
            [pool(s, torch.ones(s.shape[:2]), encoder.pooling).numpy() for s in states]
        )

    return run
