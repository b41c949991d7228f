"""The page on a released model, and before there is one."""

import re
from html import unescape
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from apps.recommender.recommender import Recommender
from shared.settings import Home

PAGE = Path(__file__).parents[3] / "apps" / "recommender" / "recommender_page.py"


@pytest.mark.parametrize("name", ["recommender_page", "ranking_page", "catalogue_map_page"])
def test_a_home_without_a_model_says_how_to_train_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    page = AppTest.from_file(str(PAGE.with_name(f"{name}.py")), default_timeout=60).run()
    assert not page.exception
    assert page.info[0].value.startswith("No recommender has been trained yet.")


def test_a_user_is_shown_with_history_list_and_reasons(
    published: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(published.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    listed, history = page.dataframe[0].value, page.dataframe[3].value
    assert list(history.columns) == ["title", "time", "weight", "item_id"]
    assert listed["rank"].tolist() == list(range(1, 11))
    assert listed["reason"].str.len().min() > 0
    assert not set(history["item_id"]) & set(listed["item_id"])
    page.sidebar.text_input[0].set_value("stranger").run()
    assert not page.exception
    assert page.info[0].value == "Nothing is known of this user: the list is what is popular."
    assert [expander.label for expander in page.expander] == ["What the shop's rules do"]


def test_the_words_that_brought_an_item_are_shaded_when_it_is_chosen(
    published: Home, shop: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(published.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert page.expander[1].label == "Which words brought it here"
    assert not page.get("html")
    listed = page.dataframe[0].value["item_id"].tolist()
    page.expander[1].selectbox[0].set_value(listed[1]).run()
    assert not page.exception
    (shaded,) = page.get("html")
    text = shop.bundle.catalog.texts[shop.item_rows[listed[1]]]
    assert unescape(re.sub(r"<[^>]*>", "", shaded.proto.body)) == text
    assert "background:rgba(" in shaded.proto.body
    said = " ".join(caption.value for caption in page.expander[1].caption)
    assert "`together` and `popular`, is about who took the item" in said
    assert "were tried" not in said
    parts = page.expander[1].dataframe[0].value.set_index("channel")
    assert parts.index.tolist() == ["sequence", "together", "words", "meaning", "popular"]
    unread = parts["lost without the text"].isna()
    assert unread[unread].index.tolist() == ["together", "popular"]


def test_rules_are_tried_beside_the_list_without_them(
    published: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(published.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    rules = page.expander[0]
    without, under = rules.dataframe[0].value, rules.dataframe[1].value
    assert without["item_id"].tolist() == under["item_id"].tolist()
    assert without["under the rules"].tolist() == [f"place {at}" for at in range(1, 11)]
    assert rules.caption[0].value.startswith(
        "Under the shop's rules the list keeps 100.0% of what the ranking expects of its own list; "
        "10 of 10 items are where the ranking has them."
    )
    rules.number_input[0].set_value(13.0)
    page.expander[0].number_input[1].set_value(2).run()
    assert not page.exception
    rules = page.expander[0]
    assert rules.caption[0].value.startswith("Under the rules tried here the list keeps ")
    under = rules.dataframe[1].value
    shelves = under["item_id"].str.rstrip("0123456789").replace("cold", "tea")
    assert shelves.value_counts().max() == 2
    dear = under["item_id"].str.extract(r"(\d+)$")[0].dropna().astype(int)
    assert dear.max() <= 3
    assert {"left out: price", "over a limit"} & set(rules.dataframe[0].value["under the rules"])
    # The list above is the shop's, whatever is tried.
    assert page.dataframe[0].value["item_id"].tolist() == without["item_id"].tolist()


def test_an_item_without_a_text_is_said_to_have_none(
    published_without_texts: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(published_without_texts.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    item = page.dataframe[0].value["item_id"].iloc[0]
    page.expander[1].selectbox[0].set_value(item).run()
    assert not page.exception
    assert [info.value for info in page.info] == [
        f"Item '{item}' has no text in the catalogue: what reads texts knows nothing of it."
    ]
    assert not page.get("html")
