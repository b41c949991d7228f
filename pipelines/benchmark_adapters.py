"""What adapters save: memory, disk and time of fine-tuned encoders that one process serves.

The adapters are LoRA of the usual rank with drawn weights: what is asked for is not what they
learned, but what they cost. Rival: the same encoders kept whole, in int8, beside the base.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from shared.inference.model_encoders import ENCODER_FOLDER, open_base_encoder
from shared.inference.runtime import Embedder
from shared.inference.throughput import Rate, time_rounds
from shared.modeling.encoder import Encoder
from shared.pretrained import PretrainedEncoder
from shared.settings import Home
from shared.training.adapters import ADAPTER_FOLDER, finetuned_embedder, save_trained
from shared.training.methods import apply_method
from shared.training.options import Method, TrainOptions

MODELS = 3  # as many as there are applications
SPREAD = 0.05  # standard deviation of the drawn weights: vectors move about as in fine-tuning
BASE, ADAPTED, WHOLE = "base alone", "adapters", "whole encoders"
SEED = 13
# Opens the base encoder and the given models as the applications do, asks each, says what it held.
PROBE = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from shared.inference.model_encoders import OpenEncoders, open_model_encoders
cache, trained, folders, texts = json.loads(sys.argv[1])
opened, said = OpenEncoders(), SimpleNamespace(**trained)
for folder, fingerprint in folders:
    said.finetuned_fingerprint = fingerprint
    encoders = open_model_encoders(Path(folder), said, cache=Path(cache), threads=2, opened=opened)
    for embedder in (encoders.base, encoders.finetuned):
        if embedder is not None:
            embedder.features(texts)
"""
# Last line of a probe. Not getrusage: its peak begins at that of the process it was forked from.
PRINT_PEAK = """
status = Path("/proc/self/status").read_text().split()
print(int(status[status.index("VmHWM:") + 1]) / 1024)
"""


@dataclass(frozen=True)
class Kept:
    """MODELS fine-tuned encoders kept one way. disk_mb: of one of them. peak_mib: of a process that
    serves them all with their base."""

    name: str
    disk_mb: float
    peak_mib: float


@dataclass(frozen=True)
class Adapters:
    """kept: the base alone (no fine-tuned encoder), adapters, whole encoders. batched, single: the
    base without an adapter, with one, and a whole encoder; BATCH texts at a time, and one."""

    kept: tuple[Kept, ...]
    batched: tuple[Rate, ...]
    single: tuple[Rate, ...]

    def lines(self) -> list[str]:
        """For people."""
        told = [
            f"{MODELS} models  {kept.name:<16} {kept.peak_mib:>6.0f} MiB, "
            f"{kept.disk_mb:>6.2f} MB on disk for each"
            for kept in self.kept
        ]
        for name, rates in (("batch", self.batched), ("one text", self.single)):
            ours = rates[0].texts_per_second
            told += [
                f"{name:<9} {rate.name:<16} {1000 / rate.texts_per_second:>8.2f} ms a text"
                f"{ours / rate.texts_per_second:>8.2f} times the base's time"
                for rate in rates
            ]
        return told


def benchmark_adapters(
    base: PretrainedEncoder, texts: Sequence[str], *, home: Home, rounds: int, single: int
) -> Adapters:
    """Measure on `texts`, of which the first `single` also one by one."""
    embedder = open_base_encoder(base, cache=home.cache, threads=2)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        adapted = [_model(root / f"adapter{at}", base, embedder, texts, at) for at in range(MODELS)]
        whole = _model(root / "whole0", base, embedder, texts, 0, keep_whole=True)
        for at in range(1, MODELS):
            shutil.copytree(root / "whole0", root / f"whole{at}")
        ways = {BASE: embedder, ADAPTED: adapted[0], WHOLE: whole}
        folders = {
            BASE: [(str(root), None)],
            ADAPTED: [
                (str(root / f"adapter{at}"), one.fingerprint) for at, one in enumerate(adapted)
            ],
            WHOLE: [(str(root / f"whole{at}"), whole.fingerprint) for at in range(MODELS)],
        }
        disk = {
            BASE: 0.0,
            ADAPTED: _size(root / "adapter0"),
            WHOLE: _size(root / "whole0"),
        }
        trained = {
            "base": base.name,
            "base_sha256": base.sha256,
            "base_fingerprint": embedder.fingerprint,
        }
        kept = tuple(
            Kept(way, disk[way], _peak([str(home.cache), trained, folders[way], list(texts[:64])]))
            for way in ways
        )
        some = texts[:single]
        return Adapters(
            kept,
            time_rounds(
                {n: partial(e.features, texts) for n, e in ways.items()}, len(texts), rounds
            ),
            time_rounds(
                {n: partial(_one_by_one, e, some) for n, e in ways.items()}, single, rounds
            ),
        )


def _model(
    folder: Path,
    base: PretrainedEncoder,
    embedder: Embedder,
    texts: Sequence[str],
    number: int,
    *,
    keep_whole: bool = False,
) -> Embedder:
    """A model version's fine-tuned encoder in `folder`, kept as training keeps it, opened."""
    options = TrainOptions(threads=2)
    encoder = Encoder.from_pretrained(base.path, base.prefix)
    torch.manual_seed(SEED + number)
    apply_method(encoder, Method.LORA, options)
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=SPREAD)
    target = folder / ENCODER_FOLDER
    save_trained(encoder, base, target)
    if keep_whole:
        shutil.rmtree(target / ADAPTER_FOLDER)
    return finetuned_embedder(
        target, embedder=embedder, probes=texts, options=options, say=lambda _: None
    )


def _one_by_one(embedder: Embedder, texts: Sequence[str]) -> None:
    for text in texts:
        embedder.features([text])


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _peak(given: Sequence[object]) -> float:
    """MiB of a fresh process that serves these."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE + PRINT_PEAK, json.dumps(given)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])
