"""The chooser of models that the pages have, on a registry as it may be found."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from shared.registry import MANIFEST, Registry

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def script() -> None:
    import streamlit as st

    from shared.model_choice_page import chosen_model

    model = chosen_model("news", without="None yet.")
    st.write("no model" if model is None else model.reference)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    return Registry(tmp_path / "models", lambda: NOW)


def publish(registry: Registry, name: str, app: str, tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "weights").write_text("w")
    return registry.publish(name, folder, app=app, metrics={}).path


def shown() -> AppTest:
    page = AppTest.from_function(script, default_timeout=60).run()
    assert not page.exception
    return page


@pytest.mark.usefixtures("registry")
def test_without_a_model_the_page_says_how_to_get_one() -> None:
    page = shown()
    assert page.info[0].value == "None yet."
    assert page.markdown[0].value == "no model"


def test_the_newest_version_stands_first_and_any_can_be_chosen(
    registry: Registry, tmp_path: Path
) -> None:
    for _ in range(2):
        publish(registry, "wire", "news", tmp_path)
    publish(registry, "shop", "chatbot", tmp_path)
    page = shown()
    assert page.markdown[0].value == "wire@2"
    chooser = page.sidebar.selectbox[0]
    assert len(chooser.options) == 2
    chooser.set_value(chooser.options[1]).run()
    assert page.markdown[0].value == "wire@1"


def test_a_manifest_that_cannot_be_read_is_a_line_and_no_traceback(
    registry: Registry, tmp_path: Path
) -> None:
    path = publish(registry, "wire", "news", tmp_path)
    (path / MANIFEST).write_text("{torn")
    page = shown()
    assert page.error[0].value.startswith(f"{path / MANIFEST}: not readable (")
    assert page.markdown[0].value == "no model"
