"""Commands started by a page: they run without it, are told apart when they end, and can be
stopped; and the two pages that start most of them."""

import os
import signal
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from pipelines.page_jobs import Job, State, jobs_of, start, stop
from shared.errors import ServiceError

PAGES = Path(__file__).parents[2] / "pipelines"
SAMPLES = Path(__file__).parents[2] / "data" / "samples"
NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
PATIENCE = 120  # seconds

Start = Callable[..., Job]


@pytest.fixture
def started(tmp_path: Path) -> Start:
    def run(*words: str, title: str = "a job", kind: str = "test") -> Job:
        environ = {**os.environ, "TRIPTYCH_HOME": str(tmp_path)}
        return start(tmp_path / "page_jobs", title, kind, words, now=NOW, environ=environ)

    return run


@pytest.fixture
def lasting() -> tuple[str, ...]:
    """Listens until it is stopped, and needs no model to start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return ("dashboard", "--port", str(probe.getsockname()[1]))


def until(jobs: Path, wanted: Callable[[Job], bool]) -> Job:
    """The newest job, once it is as wanted."""
    for _ in range(PATIENCE * 10):
        job = jobs_of(jobs)[0]
        if wanted(job):
            return job
        time.sleep(0.1)
    raise AssertionError(f"{job.state}: {job.log}")


def ended(job: Job) -> bool:
    return job.state is not State.RUNNING


def test_a_job_runs_says_what_it_does_and_finishes(started: Start, tmp_path: Path) -> None:
    job = started("models", "list", title="What is there")
    assert job.state is State.RUNNING
    assert job.command == "triptych models list"
    done = until(tmp_path / "page_jobs", ended)
    assert (done.state, done.title, done.started) == (State.FINISHED, "What is there", NOW)
    assert "No model yet" in done.log
    assert jobs_of(tmp_path / "page_jobs", "another kind") == []


def test_a_command_that_fails_leaves_its_error(started: Start, tmp_path: Path) -> None:
    started("models", "rollback", "nobody")
    done = until(tmp_path / "page_jobs", ended)
    assert done.state is State.FAILED
    assert "nobody" in done.log


def test_one_job_is_at_work_at_a_time_and_can_be_stopped(
    started: Start, lasting: tuple[str, ...], tmp_path: Path
) -> None:
    jobs = tmp_path / "page_jobs"
    job = started(*lasting)
    with pytest.raises(ServiceError) as caught:
        started("models", "list")
    assert str(caught.value) == f"`{job.command}` is at work; wait for its end, or stop it"
    assert len(jobs_of(jobs)) == 1
    until(jobs, lambda each: "URL" in each.log)
    stop(job)
    assert until(jobs, ended).state is State.STOPPED
    stop(job)  # what has ended is left alone
    assert started("models", "list").state is State.RUNNING
    until(jobs, ended)


def test_a_job_that_was_killed_is_known_as_such(
    started: Start, lasting: tuple[str, ...], tmp_path: Path
) -> None:
    jobs = tmp_path / "page_jobs"
    job = started(*lasting)
    until(jobs, lambda each: "URL" in each.log)
    os.killpg(job.pid, signal.SIGKILL)
    assert until(jobs, ended).state is State.KILLED


def test_only_the_end_of_a_long_log_is_shown(started: Start, tmp_path: Path) -> None:
    started("models", "list")
    job = until(tmp_path / "page_jobs", ended)
    (job.folder / "log.txt").write_text("é" * 30_000 + "the end")
    assert job.log.endswith("the end")
    assert len(job.log) < 12_000


def page(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("TRIPTYCH_HOME", str(home))
    return AppTest.from_file(str(PAGES / name), default_timeout=60).run()


def button(shown: AppTest, label: str) -> Any:
    (found,) = [each for each in shown.button if each.label == label]
    return found


def test_dialogues_are_imported_from_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = page("import_page.py", tmp_path, monkeypatch)
    assert button(shown, "Import").disabled
    shown.text_input[0].set_value("../elsewhere").run()
    assert shown.error[0].value.startswith("A name has letters, digits, - and _")
    shown.text_input[0].set_value("calls").run()
    shown.text_input[1].set_value("/nowhere/chats.csv").run()
    assert shown.error[0].value == "There is no such file: /nowhere/chats.csv"
    assert button(shown, "Import").disabled
    chats = tmp_path / "chats.csv"
    matters = {
        "how do I reset my password": "Open Settings and choose Reset my password.",
        "where is my parcel": "You find every parcel under My orders, with its last station.",
        "when does the shop open": "The shop opens at nine on weekdays.",
    }
    rows = [
        (f"{at}-{number}", who, text)
        for at, (question, answer) in enumerate(matters.items())
        for number, begin in enumerate(("hello,", "tell me", "please say", "I wonder"))
        for who, text in (("visitor", f"{begin} {question}"), ("desk", answer))
    ]
    pd.DataFrame(rows, columns=pd.Index(["chat", "who", "said"])).to_csv(chats, index=False)
    shown.text_input[1].set_value(str(chats)).run()
    for at, value in ((2, "visitor"), (3, "desk"), (4, "chat"), (5, "who"), (6, "said")):
        shown.text_input[at].set_value(value)
    shown.run()
    button(shown, "Import").click().run()
    assert not shown.exception
    done = until(tmp_path / "page_jobs", ended)
    assert done.words == (
        "chatbot", "import", "--output", str(tmp_path / "imports" / "calls"),
        "--dialogues", str(chats), "--customer", "visitor", "--agent", "desk",
        "--dialogue-column", "chat", "--speaker-column", "who", "--text-column", "said",
    )  # fmt: skip
    assert done.state is State.FINISHED, done.log
    shown.run()
    assert shown.success[0].value == "Look it through on the page Drafts; then train with it."
    # What was imported can be trained on.
    shown = page("train_page.py", tmp_path, monkeypatch)
    drafts = str(tmp_path / "imports" / "calls")
    assert shown.selectbox[1].options == ["none", drafts]
    shown.selectbox[1].set_value(drafts).run()
    filled = [each.value for each in shown.text_input][:2]
    assert filled == [f"{drafts}/examples.csv", f"{drafts}/answers.yml"]
    assert not button(shown, "Train").disabled


def test_what_cannot_be_trained_says_why_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = page("train_page.py", tmp_path, monkeypatch)
    shown.selectbox[0].set_value("Recommender").run()
    assert [each.label.split(":")[0] for each in shown.text_input][:2] == ["Items", "Events"]
    events = tmp_path / "events.csv"
    events.write_text("user_id,item_id,timestamp\na,strange,2026-01-01T00:00:00Z\n")
    shown.text_input[0].set_value(str(SAMPLES / "recommender" / "items.csv")).run()
    assert button(shown, "Train").disabled
    shown.text_input[1].set_value(str(events)).run()
    shown.number_input[0].set_value(0.0).run()
    button(shown, "Train").click().run()
    done = until(tmp_path / "page_jobs", ended)
    assert done.state is State.FAILED
    assert done.words[:6] == ("train", "recommender", "--name", "shop", "--method", "auto")
    assert "--minutes" not in done.words
    shown.run()
    assert "none of its 1 events is of a user on an item of the catalogue" in shown.code[1].value


def test_a_second_job_is_refused_on_the_page(
    started: Start, lasting: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started(*lasting, kind="train", title="the other")
    shown = page("train_page.py", tmp_path, monkeypatch)
    shown.text_input[0].set_value(str(SAMPLES / "chatbot" / "examples.csv")).run()
    button(shown, "Train").click().run()
    assert shown.error[0].value.startswith("`triptych dashboard --port ")
    button(shown, "Stop").click().run()
    assert until(tmp_path / "page_jobs", ended).state is State.STOPPED


def test_of_two_jobs_in_one_second_the_later_one_is_the_newest(tmp_path: Path) -> None:
    """Whatever is drawn for their names."""
    for number in range(4):
        moment = datetime(2026, 3, 1, 12, 0, 0, 1000 * number, tzinfo=UTC)
        job = start(tmp_path, str(number), "kind", ["--help"], now=moment, environ=os.environ)
        while jobs_of(tmp_path)[0].state is State.RUNNING:
            time.sleep(0.02)
        assert jobs_of(tmp_path)[0].folder == job.folder
