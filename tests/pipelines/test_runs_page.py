"""Runs beside each other: the tables by hand, the page, and the command line."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.run_tables import against_forecast, comparison, loss_points, metrics_of, overview
from shared.evaluation.report import Confusion, Measure, Report
from shared.run_journal import REPORT, find_run, open_run, read_runs

PAGE = Path(__file__).parents[2] / "pipelines" / "runs_page.py"
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def leave_run(runs: Path, name: str, *, minute: int, rate: float, ended: str = "finished") -> None:
    """A run of 20 steps in two minutes, of which 2.5 were said."""
    at = START + timedelta(minutes=minute)
    options = {"method": "full", "learning_rate": rate, "seed": 13, "logdir": "/somewhere"}
    with open_run(runs / name, app="chatbot", options=options, clock=lambda: at) as journal:
        journal.write("training", from_step=0, steps=20, metric="accuracy",
                      forecast_minutes=2.5, forecast_memory_mb=1024.0)  # fmt: skip
        for step in (5, 10, 15, 20):
            journal.write("loss", step=step, epoch=step / 10, loss=rate * 1000 / step,
                          seconds=step * 6.0)  # fmt: skip
        for step, value in ((10, 0.8), (20, 0.9)):
            journal.write("evaluation", step=step, epoch=step / 10, seconds=step * 6.0,
                          metrics={"accuracy": value, "runtime": 3.0})  # fmt: skip
        if ended != "finished":
            return
        journal.write("trained", method="full", best_metric=0.9, seconds=120.0,
                      peak_memory_mb=2048.0, stopped_because="all 20 steps are done")  # fmt: skip
        report = Report(
            "Support",
            "chatbot",
            name,
            "10 questions",
            (Measure("accuracy", 0.875, 0.8, 0.9, 10),),
            confusions=(Confusion("card_lost", "card_arrival", 3, ("where is <b>it</b>?",)),),
        )
        journal.path.with_name(REPORT).write_text(report.to_json())
        journal.write("finished", at=at.isoformat(), model=f"{name}@1", figures=report.metrics,
                      seconds=150.0)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    leave_run(tmp_path / "runs", "support", minute=0, rate=0.001)
    leave_run(tmp_path / "runs", "support", minute=30, rate=0.002)
    leave_run(tmp_path / "runs", "other", minute=60, rate=0.003, ended="killed")
    return tmp_path


def test_duration_stands_against_the_forecast(home: Path) -> None:
    assert against_forecast(find_run(home / "runs", "support")) == "2.0 of 2.5 min said (-20%)"
    assert against_forecast(find_run(home / "runs", "other")) == "2.0 of 2.5 min said"


def test_tables_hold_what_the_journals_say(home: Path) -> None:
    runs = read_runs(home / "runs")
    table = overview(runs)
    assert table["state"].tolist() == ["broken", "finished", "finished"]
    assert table["steps"].tolist() == ["20 of 20"] * 3
    assert table["best on validation"].tolist() == ["0.9000"] * 3
    assert table["model"].tolist() == ["", "support@1", "support@1"]
    assert metrics_of(runs) == ["accuracy"]
    points = loss_points(runs[1:2])
    assert points["value"].tolist() == [0.4, 0.2, 2 / 15, 0.1]
    assert points["minutes"].tolist() == [0.5, 1.0, 1.5, 2.0]


def test_side_by_side_shows_what_differs(home: Path) -> None:
    runs = read_runs(home / "runs")[1:]
    assert comparison(runs, differing_only=True).index.tolist() == ["option learning_rate"]
    whole = comparison(runs, differing_only=False)
    column = whole.iloc[:, 0]
    assert column["memory"] == "2.00 GiB, 1.00 said"
    assert column["report: accuracy"] == "0.8750"
    assert column["why it ended"] == "all 20 steps are done"
    assert not any("logdir" in name for name in whole.index)


def test_a_home_without_runs_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    assert page.info[0].value.startswith("No run yet.")


def test_the_page_shows_runs_and_their_confusions(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(home))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    assert page.dataframe[0].value["state"].tolist() == ["broken", "finished", "finished"]
    page.multiselect[0].set_value([run.key for run in read_runs(home / "runs")[1:]]).run()
    assert not page.exception
    assert page.dataframe[1].value.index.tolist() == ["option learning_rate"]
    page.toggle[0].set_value(False).run()
    assert "memory" in page.dataframe[1].value.index
    confusions = page.dataframe[2].value
    assert confusions.iloc[0].tolist() == ["card_lost", "card_arrival", 3, "where is <b>it</b>?"]
    assert page.metric[0].value == "2.0 min"
    page.multiselect[0].set_value([]).run()
    assert not page.exception


def test_the_page_reads_without_torch() -> None:
    look = (
        "import sys; import pipelines.runs_page; "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", look], check=True)


def test_the_command_line_lists_and_shows(home: Path) -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["runs", "list", "--home", str(home)])
    assert listed.exit_code == 0
    lines = listed.stdout.splitlines()
    assert len(lines) == 3
    assert "broken" in lines[0]
    assert lines[1].endswith("support@1")
    assert "2.0 of 2.5 min said (-20%)" in lines[1]
    only = runner.invoke(app, ["runs", "list", "--name", "other", "--home", str(home)])
    assert len(only.stdout.splitlines()) == 1
    shown = runner.invoke(app, ["runs", "show", "support", "--home", str(home)])
    assert "option learning_rate" in shown.stdout
    assert "step 20     epoch 2      accuracy 0.9000" in shown.stdout
