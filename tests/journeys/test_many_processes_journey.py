"""The same command on several workers or processes, by the real command."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
RAY = ("--engine", "ray", "--workers", "2")


@pytest.fixture(autouse=True)
def _with_ray() -> None:
    pytest.importorskip("ray", reason="the extra `distributed` is not installed")


def test_bulk_labels_by_ray_are_those_of_one_process(
    triptych: Run, inputs: Path, tmp_path: Path
) -> None:
    table = tmp_path / "in.csv"
    # A little more than a shard, so that each worker has one.
    stream = pd.read_csv(inputs / "stream.csv", keep_default_na=False).iloc[:2100]
    stream[["title"]].to_csv(table, index=False)
    written = []
    for name, engine in (("near", ("--threads", "1")), ("far", RAY)):
        output = tmp_path / f"{name}.csv"
        done = triptych("predict", "news", "--model", "news", "--input", table, "--text-column",
                        "title", "--output", output, "--json", *engine)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == len(stream)
        written.append(output.read_bytes())
    assert written[0] == written[1]


def test_lists_by_ray_are_those_of_one_process(triptych: Run, tmp_path: Path) -> None:
    written = []
    for name, engine in (("near", ("--threads", "1")), ("far", RAY)):
        output = tmp_path / f"{name}.parquet"
        done = triptych("recommend", "-k", "5", "--output", output, *engine)
        assert done.returncode == 0, done.stderr
        written.append(output.read_bytes())
    assert written[0] == written[1]


def test_a_cluster_that_is_not_there_is_one_line(
    triptych: Run, inputs: Path, tmp_path: Path
) -> None:
    done = triptych("predict", "news", "--model", "news", "--input", inputs / "stream.csv",
                    "--text-column", "title", "--output", tmp_path / "out.csv",
                    "--engine", "ray", "--address", "127.0.0.1:1")  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("triptych: --engine ray: no Ray cluster 127.0.0.1:1")
    assert last.endswith("name its HOST:PORT with --address, or leave --address out")


def test_training_by_two_processes_publishes_one_model(
    triptych: Run, inputs: Path, tiny_encoder: Path, home: Path
) -> None:
    arguments = (
        "train", "chatbot", "--examples", inputs / "questions.csv", "--base", tiny_encoder,
        "--method", "full", "--epochs", "2", "--threads", "1",
    )  # fmt: skip
    done = triptych(*arguments, "--name", "shared", "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1 of 2") == 1
    assert done.stdout.count("shared@1 is in production") == 1
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                "--nproc-per-node", "2", "-m", "pipelines.cli"]  # fmt: skip
    again = subprocess.run(
        [*torchrun, *map(str, arguments), "--name", "shared"],
        env={**os.environ, "TRIPTYCH_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("epoch 1 of 2") == 1
    assert sorted(p.name for p in (home / "models" / "shared").glob("[0-9]*")) == ["1", "2"]
