"""The page on a released model, and before there is one."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from shared.evaluation.report import Report
from shared.registry import Registry

PAGE = Path(__file__).parents[3] / "apps" / "recommender" / "recommender_page.py"


def test_a_home_without_a_model_says_how_to_train_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    assert page.info[0].value.startswith("No recommender has been trained yet.")


def test_a_user_is_shown_with_history_list_and_reasons(
    trained: tuple[Path, Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    registry = Registry(tmp_path / "models", lambda: datetime(2024, 1, 1, tzinfo=UTC))
    copy = tmp_path / "trained"
    copy.mkdir()
    for file in trained[0].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    registry.publish("shop", copy, app="recommender", metrics={"NDCG@10": 0.5})
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    listed, history = page.dataframe[0].value, page.dataframe[1].value
    assert list(history.columns) == ["title", "time", "weight", "item_id"]
    assert listed["rank"].tolist() == list(range(1, 11))
    assert listed["reason"].str.len().min() > 0
    assert not set(history["item_id"]) & set(listed["item_id"])
    page.sidebar.text_input[0].set_value("stranger").run()
    assert not page.exception
    assert page.info[0].value == "Nothing is known of this user: the list is what is popular."
