"""A candidate beside production on the rows that both kept: what customers would have met."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from apps.chatbot.decision import Policy
from apps.chatbot.held_rows import HeldRow, HeldRows
from apps.chatbot.shadow import Difference, shadow
from pipelines.models_page import history_table
from pipelines.page_jobs import Job, State, jobs_of
from shared.errors import DataError
from shared.evaluation.forgetting import keep_texts
from shared.evaluation.outcomes import save_outcomes, text_outcomes
from shared.registry import ModelVersion, Registry

PAGE = Path(__file__).resolve().parents[2] / "pipelines" / "models_page.py"
OF_BOTH = 60  # questions that both know alike, so that the gate has enough
MEANT = (*["hours"] * OF_BOTH, "refund", "track", "track", "track")
ASKED = (
    *[f"open on day {n}" for n in range(OF_BOTH)],
    "money",
    "parcel",
    "mail ana@example.org",
    "x",
)


def now() -> datetime:
    return datetime(2026, 3, 2, tzinfo=UTC)


def published(root: Path, readings: Sequence[tuple[tuple[str, float], ...]]) -> ModelVersion:
    """A version that reads the last questions so, and the others right."""
    folder = root / "made"
    folder.mkdir()
    sure = (("hours", 0.99),)
    rankings = [*[sure] * (len(MEANT) - len(readings)), *readings]
    rows = tuple(
        HeldRow(meant, ranking, 0.0, False, True)
        for meant, ranking in zip(MEANT, rankings, strict=True)
    )
    HeldRows(rows, (0.1, 0.2, 0.8), Policy(1.0, 4, ()), 0.25, {}).save(folder)
    right = np.array([row.taken_for == row.truth for row in rows])
    outcomes = text_outcomes(
        "intent", ASKED, [(meant,) for meant in MEANT], right,
        groups=np.arange(len(MEANT)), known_words=(), decisions=[""] * len(MEANT),
        confidence=np.full(len(MEANT), 0.9), right=right,
    )  # fmt: skip
    save_outcomes((outcomes,), folder)
    keep_texts((outcomes,), folder)
    return Registry(root / "models", now).publish("desk", folder, app="chatbot", metrics={})


@pytest.fixture
def versions(tmp_path: Path) -> tuple[ModelVersion, ModelVersion]:
    """Production, and a candidate that is worse, better and neither on a question each."""
    right, wrong = (("refund", 0.9),), (("track", 0.9),)
    unsure = (("track", 0.5), ("hours", 0.4))
    production = published(tmp_path, (right, wrong, right, wrong))
    return production, published(tmp_path, (wrong, unsure, wrong, wrong))


def test_differences_are_told_the_worse_ones_first(
    versions: tuple[ModelVersion, ModelVersion],
) -> None:
    production, candidate = versions
    found = shadow(candidate, production)
    assert found.n == OF_BOTH + 4
    assert dict(found.moves) == {("answer", "answer"): OF_BOTH + 3, ("answer", "clarify"): 1}
    assert found.differences == (
        Difference("money", "refund", "answer refund", "answer track", better=False),
        Difference("(holds personal data)", "track", "answer refund", "answer track", better=True),
        Difference("parcel", "track", "answer track", "clarify track, hours", better=None),
    )


def test_a_version_that_kept_no_rows_is_named(
    versions: tuple[ModelVersion, ModelVersion], tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x.json").write_text("{}")
    old = Registry(tmp_path / "models", now).publish(
        "old", tmp_path / "old", app="chatbot", metrics={}
    )
    with pytest.raises(DataError, match=r"^old@1 was trained before held-out rankings were kept"):
        shadow(versions[1], old)


def test_the_page_compares_without_loading_a_model(
    versions: tuple[ModelVersion, ModelVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [version.reference for version in versions] == ["desk@1", "desk@2"]
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    shown = [each.value for each in page.markdown]
    assert "Of 64 held-out questions 3 would be decided otherwise: 1 better, 1 worse." in shown
    assert any(line.startswith("desk@2 in place of desk@1: **") for line in shown)
    # What takes a loaded model is left to the command, and the page says so.
    (table,) = [each.value for each in page.dataframe if "says" in each.value]
    assert not {"latency", "must-pass cases"} & set(table["of"])
    (caption,) = [each.value for each in page.caption if "Speed and must-pass" in each.value]
    assert caption.endswith(
        "Speed and must-pass cases are judged by the button below, which loads both versions as "
        "`triptych models promote` does."
    )
    code = "import pipelines.models_page, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_version_is_made_live_and_rolled_back_by_buttons(
    versions: tuple[ModelVersion, ModelVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only as far as the commands let it: the candidate's loss is for the gate to judge."""
    production, candidate = versions
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    registry = Registry(tmp_path / "models", now)
    assert registry.resolve("desk").version == production.version
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    back = f"Roll desk back to the version before {production.reference}"
    (button,) = [each for each in page.button if each.label == back]
    button.click().run()
    # There is none before the first.
    assert pressed(tmp_path).state is State.FAILED
    registry.promote("desk", candidate.version, reason="for the test")
    page.run()
    back = f"Roll desk back to the version before {candidate.reference}"
    (button,) = [each for each in page.button if each.label == back]
    button.click().run()
    assert pressed(tmp_path).state is State.FINISHED
    assert registry.resolve("desk").version == production.version
    page.run()
    assert page.success[0].value == "Done: above is what is live now."
    tables = [each.value for each in page.dataframe]
    (figures,) = [table for table in tables if "live" in table]
    assert figures.loc[figures["rolled back"].notna(), "model"].tolist() == ["desk@2"]
    (went_live,) = [table for table in tables if "went live" in table]
    pd.testing.assert_frame_equal(went_live, history_table(registry))
    assert went_live[["went live", "because"]].to_numpy().tolist() == [
        ["desk@1", "rolled back from 2"],
        ["desk@2", "for the test"],
        ["desk@1", "first version"],
    ]
    assert any(each.label.startswith("Make desk@2 live, if the gate") for each in page.button)


def test_a_rollback_stands_in_the_list_and_in_the_history(
    versions: tuple[ModelVersion, ModelVersion],
    tmp_path: Path,
    triptych_here: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    registry = Registry(tmp_path / "models", now)
    registry.promote("desk", versions[1].version, reason="for the test")
    back = triptych_here("models", "rollback", "desk", "--reason", "too curt", home=tmp_path)
    assert (back.returncode, back.stdout) == (0, "desk@1 is in production again\n")
    at = registry.history("desk")[-1]["at"]

    listed = triptych_here("models", "list", home=tmp_path).stdout.splitlines()
    assert [line.split(maxsplit=3)[-1] for line in listed] == [
        "live",
        f"rolled back {datetime.fromisoformat(at):%Y-%m-%dT%H:%M:%S+00:00}",
    ]
    rows = json.loads(triptych_here("models", "list", "--json", home=tmp_path).stdout)
    assert [(row["version"], row["withdrawn_at"]) for row in rows] == [
        (1, None),
        (2, at[:19] + at[-6:]),
    ]

    shown = triptych_here("models", "show", "desk", home=tmp_path).stdout.splitlines()
    assert [line.partition("  desk")[2] for line in shown if "went live" in line] == [
        "@1 went live: first version",
        "@2 went live: for the test",
        "@1 went live: rolled back from 2: too curt",
    ]
    one = json.loads(triptych_here("models", "show", "desk", "--json", home=tmp_path).stdout)
    assert one["history"] == registry.history("desk")


def pressed(home: Path) -> Job:
    """The job of the newest button, at its end."""
    for _ in range(1200):
        job = jobs_of(home / "page_jobs")[0]
        if job.state is not State.RUNNING:
            return job
        time.sleep(0.1)
    raise AssertionError(job.log)
