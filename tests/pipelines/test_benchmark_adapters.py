"""What adapters save is measured on real processes, each by its own peak."""

import subprocess
import sys
from pathlib import Path

from pipelines.benchmark_adapters import (
    ADAPTED,
    BASE,
    MODELS,
    PRINT_PEAK,
    WHOLE,
    Adapters,
    Kept,
    benchmark_adapters,
)
from shared.inference.probes import PROBE_TEXTS
from shared.inference.throughput import Rate
from shared.pretrained import resolve
from shared.settings import Home


def test_each_way_is_measured_and_an_adapter_is_the_smaller(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    base = resolve(str(tiny_encoder), cache=home.cache)
    found = benchmark_adapters(base, PROBE_TEXTS[:20], home=home, rounds=1, single=2)
    assert [kept.name for kept in found.kept] == [BASE, ADAPTED, WHOLE]
    assert all(kept.peak_mib > 50 for kept in found.kept)
    alone, adapted, whole = (kept.disk_mb for kept in found.kept)
    # 4 products with 2 matrices of 32 by 8 numbers, against every weight twice.
    assert alone == 0.0
    assert 4 * 2 * 32 * 8 * 4 / 1e6 < adapted < whole / 5
    assert [rate.name for rate in found.batched] == [BASE, ADAPTED, WHOLE]


def test_the_lines_give_memory_disk_and_the_share_of_the_bases_time() -> None:
    kept = (Kept(BASE, 0.0, 200.0), Kept(ADAPTED, 0.3, 215.4))
    rates = (Rate(BASE, 500.0, 500.0, 500.0), Rate(ADAPTED, 400.0, 400.0, 400.0))
    lines = Adapters(kept, rates, rates).lines()
    assert lines[1] == f"{MODELS} models  adapters            215 MiB,   0.30 MB on disk for each"
    assert lines[3] == (
        "batch     adapters             2.50 ms a text    1.25 times the base's time"
    )


def test_the_peak_of_a_process_is_its_own_and_not_that_of_its_parent() -> None:
    held = b"x" * 300_000_000
    child = [sys.executable, "-c", "from pathlib import Path\n" + PRINT_PEAK]
    done = subprocess.run(child, capture_output=True, text=True, timeout=60, check=True)
    assert len(held) / 2**20 > 250 > float(done.stdout) > 1
