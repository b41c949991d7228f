"""Rates are counted right; which runtime is quicker is never a test."""

import time
from pathlib import Path

import pytest

from shared.inference.throughput import (
    PIPELINE,
    Rate,
    Throughput,
    measure_throughput,
    time_rounds,
)


def test_rates_are_texts_over_seconds() -> None:
    runs = []

    def sleep() -> None:
        runs.append(1)
        time.sleep(0.05)

    (rate,) = time_rounds({"sleeper": sleep}, texts=10, rounds=3)
    assert len(runs) == 4  # one to warm up
    assert rate.best >= rate.texts_per_second
    # A sleep never ends early, but on a busy machine it may end late.
    assert 20 <= rate.texts_per_second <= 200
    assert rate.texts_per_cpu_second > rate.texts_per_second


def test_ratios_are_those_of_the_median_rounds() -> None:
    found = Throughput((Rate("fp32", 100, 130, 60), Rate("int8", 250, 260, 150)), 9, 32, 2)
    assert found.ratio("int8") == 2.5
    assert found.ratio("fp32", to="int8") == 0.4
    with pytest.raises(KeyError):
        found.rate("bf16")


def test_every_rival_is_measured_on_the_same_texts(tiny_encoder: Path, tmp_path: Path) -> None:
    texts = ["where is my order", "good", "the bank will pay late"] * 4
    found = measure_throughput(tiny_encoder, texts, rounds=1, batch_size=4, cache=tmp_path)
    assert [rate.name for rate in found.rates] == ["fp32", "bf16", "int8", PIPELINE]
    assert (found.texts, found.batch_size, found.threads) == (12, 4, 2)
    assert all(rate.texts_per_second > 0 for rate in found.rates)
