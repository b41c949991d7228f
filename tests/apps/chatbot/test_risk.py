"""The curve counted by hand, the promise beside what customers say, and the page over both."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert
from streamlit.testing.v1 import AppTest

from apps.chatbot.answers import ANSWERS_FILE, AnswerBook
from apps.chatbot.decision import Policy
from apps.chatbot.held_rows import HeldRow, HeldRows
from apps.chatbot.live import LiveFile
from apps.chatbot.opening import opened_database
from apps.chatbot.outcomes_seen import Seen
from apps.chatbot.risk import LiveRisk, RiskPoint, risk_at, risk_view
from apps.chatbot.tables import conversations, feedback, messages
from shared.errors import DataError, ModelError
from shared.registry import ModelVersion, Registry
from shared.settings import Home

PAGE = Path(__file__).resolve().parents[3] / "apps" / "chatbot" / "risk_page.py"
POLICY = Policy(oos_threshold=2.0, max_options=2, handover_labels=("person",))


def row(truth: str, *ranking: tuple[str, float], oos: float = 0.0, asks: bool = False) -> HeldRow:
    return HeldRow(truth, ranking, oos, asks, scoped=True)


# Nine calibration scores: at risk 0.1 the largest counts, 0.9; at 0.5 the fifth, 0.5.
HELD = HeldRows(
    (
        row("hours", ("hours", 0.95), ("refund", 0.04)),
        row("hours", ("refund", 0.85), ("hours", 0.15)),
        row("track", ("refund", 0.4), ("hours", 0.35), ("track", 0.25)),
        row("refund", ("refund", 0.99), oos=2.1),
        row("refund", ("hours", 0.99), ("refund", 0.01)),
        row("person", ("person", 0.99)),
        row("hours", ("hours", 0.99), asks=True),
    ),
    tuple(n / 10 for n in range(1, 10)),
    POLICY,
    0.1,
    {"hours": 5},
)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def version(
    tmp_path: Path, answer_book: AnswerBook, monkeypatch: pytest.MonkeyPatch
) -> ModelVersion:
    monkeypatch.setenv("TRIPTYCH_HOME", str(tmp_path))
    folder = tmp_path / "made"
    folder.mkdir()
    answer_book.save(folder / ANSWERS_FILE)
    HELD.save(folder)
    registry = Registry(tmp_path / "models", now)
    return registry.publish("desk", folder, app="chatbot", metrics={})


def test_decisions_are_counted_at_each_risk() -> None:
    # 0.9: only what is below 0.1 is out; the third has three intents, of which two are offered.
    assert risk_at(HELD, 0.1) == RiskPoint(
        0.1, n=7, answered=2, asked_back=2, refused=1, handed_over=2, wrong=1, missed=1
    )
    # 0.5: the third has none above a half.
    assert risk_at(HELD, 0.5) == RiskPoint(
        0.5, n=7, answered=3, asked_back=0, refused=2, handed_over=2, wrong=2, missed=0
    )
    assert HELD.least_risk == 0.1
    # Below the least risk nothing can be ruled out.
    assert (risk_at(HELD, 0.05).answered, risk_at(HELD, 0.05).asked_back) == (0, 4)
    named = {measure.name: measure for measure in risk_at(HELD, 0.1).measures}
    assert (named["wrong answers"].value, named["wrong answers"].n) == (1 / 7, 7)
    assert named["right when answered"].value == 0.5
    assert named["choices without it"].value == 0.5


def test_what_was_kept_is_read_back_and_damage_is_named(tmp_path: Path) -> None:
    HELD.save(tmp_path)
    assert HeldRows.load(tmp_path) == HELD
    (file,) = tmp_path.iterdir()
    text = file.read_text()
    for broken in (text[:-20], "[]", text.replace('"format":1', '"format":7')):
        file.write_text(broken)
        with pytest.raises(ModelError, match=r"held_out_rankings\.json: "):
            HeldRows.load(tmp_path)
    file.unlink()
    assert HeldRows.load(tmp_path) is None


@pytest.mark.parametrize(
    ("up", "down", "verdict"),
    [
        (0, 0, "not known yet: nobody has said anything"),
        (400, 1, "kept, and not by chance"),
        (30, 1, "kept so far"),
        (10, 1, "above it so far; chance explains it"),
        (50, 50, "broken: more than promised, and chance does not explain it"),
    ],
)
def test_the_promise_is_judged_by_the_interval(up: int, down: int, verdict: str) -> None:
    assert LiveRisk(now(), 0.05, Seen(up, down, 0, 0, 500)).verdict == verdict


def test_a_version_without_rows_and_a_risk_out_of_range_are_refused(
    version: ModelVersion, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^risk 0\.7: expected more than 0 and less than 0\.5$"):
        risk_view(version, None, now=now(), asked=(0.7,))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x.json").write_text("{}")
    old = Registry(tmp_path / "models", now).publish(
        "old", tmp_path / "old", app="chatbot", metrics={}
    )
    with pytest.raises(DataError, match=r"^old@1 was trained before held-out rankings were kept"):
        risk_view(old, None, now=now())


def answered(home: Path, ups: int, downs: int) -> None:
    """So many thumbs on answers of desk@1."""
    engine = opened_database(Home(home))
    with engine.begin() as connection:
        connection.execute(
            insert(conversations).values(sender="ana", state={}, revision=1, updated_at=now())
        )
        for number in range(ups + downs):
            at = now() + timedelta(milliseconds=number)
            connection.execute(
                insert(messages).values(
                    id=number + 1, sender="ana", role="bot", text="x", decision="answer",
                    intent="hours", probability=0.9, model="desk@1", at=at,
                )
            )  # fmt: skip
            value = "up" if number < ups else "down"
            connection.execute(
                insert(feedback).values(message_id=number + 1, value=value, comment="", at=at)
            )
    engine.dispose()


def opened() -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    return page


def shown(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def test_the_page_shows_the_curve_and_applies_a_risk(version: ModelVersion, tmp_path: Path) -> None:
    answered(tmp_path, ups=3, downs=1)
    page = opened()
    assert page.slider[0].value == 10.0
    assert shown(page)["Answered"] == "28.6%"
    assert shown(page)["Promised at most"] == "10.0%"
    assert page.metric[-1].value == "above it so far"
    page.text_input(key="agent").set_value("mia").run()
    page.slider[0].set_value(30.0).run()
    assert not page.exception
    button = next(b for b in page.button if b.label == "Apply 30.0% to the running bot")
    button.click().run()
    assert not page.exception
    assert page.success[0].value.startswith("The bot takes 30.0% from its next message on")
    live = LiveFile.of(version).read()
    assert [(each.risk, each.by) for each in live.risks] == [(0.3, "mia")]
    # What was said under another promise does not count for this one.
    assert page.info[0].value == "This version has decided nothing yet under this risk."
    next(b for b in page.button if b.label.startswith("Back to the 10.0%")).click().run()
    assert LiveFile.of(version).read().risk is None


def test_below_what_the_calibration_rows_can_promise_the_page_warns(version: ModelVersion) -> None:
    del version
    page = opened()
    page.slider[0].set_value(5.0).run()
    assert page.warning[0].value.startswith("Below 10.00% the calibration rows are too few")


def test_the_pages_do_not_import_what_trains() -> None:
    names = ("risk", "intents", "analytics", "chat")
    pages = ", ".join(f"apps.chatbot.{name}_page" for name in names)
    code = f"import {pages}, sys; assert not {{'torch', 'sklearn'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
