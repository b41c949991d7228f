"""Run journals: written by real processes, killed and torn, and read while they run."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import DataError, ModelError
from shared.run_journal import JOURNAL, Journal, State, find_run, open_run, read_run, read_runs

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
# A process that begins a run, learns for five steps, says so and then waits to be killed.
JOB = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from shared.run_journal import open_run
with open_run(Path(sys.argv[1]), app="chatbot", options={"seed": 13},
              clock=lambda: datetime.now(UTC)) as journal:
    journal.write("training", from_step=0, steps=50, metric="accuracy",
                  forecast_minutes=2.0, forecast_memory_mb=500.0)
    for step in range(1, 6):
        journal.write("loss", step=step, epoch=step / 10, loss=1 / step, seconds=step * 3.0)
    print("ready", flush=True)
    time.sleep(60)
"""


def clock() -> datetime:
    return START


def write_loss(journal: Journal, *steps: int) -> None:
    for step in steps:
        journal.write("loss", step=step, epoch=step / 10, loss=1.0 / step, seconds=step * 3.0)


def write_training(journal: Journal, from_step: int) -> None:
    journal.write(
        "training",
        from_step=from_step,
        steps=50,
        metric="accuracy",
        forecast_minutes=2.0,
        forecast_memory_mb=500.0,
    )


def test_a_finished_run_is_read_back_whole(tmp_path: Path) -> None:
    with open_run(tmp_path / "support", app="chatbot", options={"seed": 13}, clock=clock) as run:
        write_training(run, 0)
        write_loss(run, 10, 20)
        run.write("evaluation", step=10, epoch=1.0, metrics={"accuracy": 0.5}, seconds=33.0)
        run.write("evaluation", step=20, epoch=2.0, metrics={"accuracy": 0.4}, seconds=66.0)
        run.write("trained", seconds=90.0, best_metric=0.5)
        end = (START + timedelta(minutes=2)).isoformat()
        run.write("finished", at=end, model="support@1", figures={"accuracy": 0.9}, seconds=120.0)
    (record,) = read_runs(tmp_path)
    assert (record.name, record.app, record.state) == ("support", "chatbot", State.FINISHED)
    assert (record.started_at, record.ended_at) == (START, START + timedelta(minutes=2))
    assert (record.model, record.figures, record.seconds) == ("support@1", {"accuracy": 0.9}, 120.0)
    assert [(p.step, p.loss) for p in record.losses] == [(10, 0.1), (20, 0.05)]
    assert record.best is not None
    assert record.best.step == 10
    assert record.minutes == 1.5
    assert (record.steps, record.forecast_minutes, record.forecast_memory_mb) == (50, 2.0, 500.0)
    assert record.options == {"seed": 13}


def test_a_process_that_lives_is_running_and_one_that_was_killed_is_broken(tmp_path: Path) -> None:
    folder = tmp_path / "support"
    process = subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        assert find_run(tmp_path, "support").state is State.RUNNING
        with (
            pytest.raises(ModelError) as caught,
            open_run(folder, app="chatbot", options={"seed": 13}, clock=clock),
        ):
            pass
        assert str(caught.value) == (
            "another process trains 'support' at this moment; wait for it (`triptych runs list`), "
            "or choose another --name"
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    record = find_run(tmp_path, "support")
    assert record.state is State.BROKEN
    assert record.reason == "its process ended without a word, as when it is killed"
    assert [point.step for point in record.losses] == [1, 2, 3, 4, 5]

    with open_run(folder, app="chatbot", options={"seed": 13}, clock=clock) as journal:
        write_training(journal, 3)  # the newest checkpoint: steps 4 and 5 are lost
        write_loss(journal, 4)
        alive = find_run(tmp_path, "support")
    assert alive.run == record.run
    assert alive.state is State.RUNNING
    assert alive.attempts == 2
    assert [point.step for point in alive.losses] == [1, 2, 3, 4]


def test_other_options_or_a_finished_run_begin_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "support"
    for second, (seed, finish) in enumerate([(1, False), (2, True), (2, False), (2, False)]):
        at = START + timedelta(seconds=second)
        with open_run(folder, app="chatbot", options={"seed": seed}, clock=lambda at=at: at) as run:  # type: ignore[misc]
            if finish:
                run.write("finished", at=at.isoformat(), model="support@1", figures={})
    runs = read_runs(tmp_path)
    assert [record.options["seed"] for record in runs] == [2, 2, 1]
    assert [record.attempts for record in runs] == [2, 1, 1]


def test_an_interruption_and_an_error_are_written_down(tmp_path: Path) -> None:
    for error in (KeyboardInterrupt(), ValueError("no such thing")):
        with (
            pytest.raises(type(error)),
            open_run(tmp_path / "support", app="chatbot", options={}, clock=clock),
        ):
            raise error
        record = find_run(tmp_path, "support")
        stopped = isinstance(error, KeyboardInterrupt)
        assert record.state is (State.STOPPED if stopped else State.BROKEN)
        assert record.reason == ("interrupted" if stopped else "ValueError: no such thing")


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_half_a_line_is_passed_over_and_does_not_spoil_the_next(tmp_path: Path, cut: int) -> None:
    with open_run(tmp_path / "support", app="chatbot", options={}, clock=clock) as run:
        write_training(run, 0)
        write_loss(run, 1, 2)
    text = run.path.read_bytes()
    run.path.write_bytes(text[:-cut])
    write_loss(run, 3)
    record = read_run(run.path.parent)
    assert record is not None
    # Cut by its line end alone, the line is whole.
    assert [point.step for point in record.losses] == ([1, 2, 3] if cut == 1 else [1, 3])


def test_a_folder_without_a_first_line_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "support" / "r").mkdir(parents=True)
    (tmp_path / "support" / "r" / JOURNAL).write_text(json.dumps({"event": "loss"})[:-2])
    assert read_runs(tmp_path) == ()
    with pytest.raises(DataError) as caught:
        find_run(tmp_path, "support")
    assert str(caught.value) == f"no run 'support' below {tmp_path}; names with runs: none yet"
