"""Long jobs in shards: whole, in order, resumed after a kill, and the same whatever the size."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import parquet

from shared.errors import DataError
from shared.shards import Shard, Work, run_shards

KEYS = [f"key {number}" for number in range(95)]


def silent(_: str) -> None:
    return


@dataclass(frozen=True)
class Lengths:
    """A row for each key; touches a file for each shard it begins."""

    touched: Path | None = None

    def open(self) -> Work:
        def work(keys: Sequence[str]) -> pd.DataFrame:
            if self.touched is not None:
                (self.touched / keys[0]).touch()
            return pd.DataFrame({"key": list(keys), "letters": [len(key) for key in keys]})

        return work


def _json_lines(path: Path) -> pd.DataFrame:
    return pd.read_json(path, lines=True)


def expected() -> pd.DataFrame:
    return pd.DataFrame({"key": KEYS, "letters": [len(key) for key in KEYS]})


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out.jsonl.gz"])
@pytest.mark.parametrize("shard_keys", [1, 10, 95, 1000])
def test_all_rows_are_written_in_order_whatever_a_shard_holds(
    tmp_path: Path, name: str, shard_keys: int
) -> None:
    output = tmp_path / name
    done = run_shards(Lengths(), KEYS, plan={}, output=output, shard_keys=shard_keys, say=silent)
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        "out.parquet": pd.read_parquet,
        "out.csv": pd.read_csv,
        "out.jsonl.gz": _json_lines,
    }
    found = readers[name](output)
    assert found["key"].tolist() == KEYS
    assert found["letters"].tolist() == [len(key) for key in KEYS]
    assert (done.rows, done.resumed) == (95, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


def test_a_job_killed_with_sigkill_goes_on_and_does_no_shard_twice(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import pandas as pd
from shared.shards import run_shards
class Job:
    def open(self):
        def work(keys):
            if keys[0] == "key 60":
                os.kill(os.getpid(), signal.SIGKILL)
            return pd.DataFrame({{"key": list(keys), "letters": [len(k) for k in keys]}})
        return work
run_shards(Job(), [f"key {{n}}" for n in range(95)], plan={{"model": "m"}},
           output=Path({str(tmp_path / "out.parquet")!r}), shard_keys=10, say=print)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False, env=os.environ)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.parquet").exists()
    touched = tmp_path / "touched"
    touched.mkdir()
    said: list[str] = []
    done = run_shards(
        Lengths(touched),
        KEYS,
        plan={"model": "m"},
        output=tmp_path / "out.parquet",
        shard_keys=10,
        say=said.append,
        noun="keys",
    )
    assert said == ["going on: 60 of 95 keys were done before"]
    assert done.resumed == 60
    assert sorted(p.name for p in touched.iterdir()) == ["key 60", "key 70", "key 80", "key 90"]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), expected())


@pytest.mark.parametrize("changed", ["plan", "keys", "size"])
def test_shards_of_another_plan_are_not_used(tmp_path: Path, changed: str) -> None:
    output, touched = tmp_path / "out.parquet", tmp_path / "touched"
    touched.mkdir()

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    class Breaks(Lengths):
        def open(self) -> Work:
            whole = super().open()
            return lambda keys: interrupted("") if keys[0] == "key 50" else whole(keys)  # type: ignore[return-value]

    with pytest.raises(KeyboardInterrupt):
        run_shards(Breaks(), KEYS, plan={"model": 1}, output=output, shard_keys=10, say=silent)
    done = run_shards(
        Lengths(touched),
        KEYS[:-1] if changed == "keys" else KEYS,
        plan={"model": 2 if changed == "plan" else 1},
        output=output,
        shard_keys=11 if changed == "size" else 10,
        say=silent,
    )
    assert done.resumed == 0
    assert (touched / "key 0").exists()


def test_lists_of_keys_that_read_alike_are_told_apart(tmp_path: Path) -> None:
    for number, keys in enumerate((["ab", "c"], ["a", "bc"])):
        folder = tmp_path / str(number) / "out.parquet.shards"
        with pytest.raises(ZeroDivisionError):
            run_shards(
                _Raising(),
                keys,
                plan={},
                output=folder.with_name("out.parquet"),
                shard_keys=1,
                say=silent,
            )
    plans = [
        json.loads((tmp_path / n / "out.parquet.shards" / "plan.json").read_text())["keys"]
        for n in ("0", "1")
    ]
    assert plans[0] != plans[1]


class _Raising:
    def open(self) -> Work:
        raise ZeroDivisionError


class _Halves:
    """A column without a value in the first shard, as where no user of it has a reason."""

    def open(self) -> Work:
        return lambda keys: pd.DataFrame(
            {"key": list(keys), "why": [None if keys[0] == "key 0" else "x" for _ in keys]}
        )


def test_a_column_that_is_empty_in_one_shard_keeps_its_type(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    run_shards(_Halves(), KEYS, plan={}, output=output, shard_keys=50, say=silent)
    assert "string" in str(parquet.read_schema(output).field("why").type)
    assert pd.read_parquet(output)["why"].isna().sum() == 50


def test_an_output_of_an_unknown_kind_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot tell the format from its name"):
        run_shards(
            _Raising(), KEYS, plan={}, output=tmp_path / "out.doc", shard_keys=10, say=silent
        )


def test_a_shard_says_where_it_is() -> None:
    assert Shard(2, 4096, ("a",) * 2048).place == "shard 3 (rows 4,097 to 6,144)"
