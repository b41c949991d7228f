"""The analytics page over a small database: what it counts, and where there is nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from streamlit.testing.v1 import AppTest

from apps.chatbot.opening import opened_database
from apps.chatbot.tables import conversations, messages
from shared.settings import Home

PAGE = Path(__file__).resolve().parents[3] / "apps" / "chatbot" / "analytics_page.py"


def opened() -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    return page


def test_without_a_word_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    assert opened().info[0].value.startswith("No customer has written in this period.")


def test_figures_tables_and_the_refused_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    engine, at = opened_database(Home(tmp_path)), datetime.now(UTC) - timedelta(minutes=1)
    with engine.begin() as connection:
        for sender, decision in (("ana", "answer"), ("ben", "reject")):
            connection.execute(
                insert(conversations).values(sender=sender, state={}, revision=1, updated_at=at)
            )
            common = {"sender": sender, "at": at}
            connection.execute(
                insert(messages).values(role="customer", text=f"**{sender}** asks", **common)
            )
            connection.execute(
                insert(messages).values(
                    role="bot", text="x", decision=decision, intent="hours", probability=0.9,
                    model="desk@1", **common,
                )
            )  # fmt: skip
    engine.dispose()
    page = opened()
    shown = {metric.label: metric.value for metric in page.metric}
    assert shown == {
        "Contained sessions": "50%", "Handover rate": "0%", "Left without an answer": "50%",
        "Clarify success": "—", "Unanswered questions": "50%", "Thumbs up": "—",
    }  # fmt: skip
    assert page.caption[-1].value.startswith("No round of learning has read the conversations yet")
    periods, intents, refused = (each.value for each in page.dataframe)
    assert periods["sessions"].sum() == 2
    assert intents.to_dict("list")["sessions"] == [1]
    assert refused["question"].tolist() == ["**ben** asks"]
