"""A stream with one crisis, replayed: the alert, the mail, the trend, the same each time."""

import email
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.policy import default
from pathlib import Path

import pandas as pd
import pytest

from apps.news_monitor.articles import Article
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.replay import ReplayReport, replay
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from shared.errors import DataError

END = datetime(2026, 3, 1, tzinfo=UTC)
CRISIS = END - timedelta(days=8)
Ordinary = Callable[[datetime, int], list[Article]]


@pytest.fixture(scope="session")
def stream(ordinary: Ordinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 days of three topics; bad news about banks for two days from CRISIS; copies; a bad row."""
    rows = [(a.published_at, a.title, a.publisher) for a in ordinary(END, 60)]
    for n in range(24):
        at = CRISIS + timedelta(hours=2 * n)
        rows.append((at, f"bank crash {70000 + n}", ("Agency", "Courier", "Herald")[n % 3]))
        rows.append((at + timedelta(minutes=5), f"Bank crash {70000 + n}!", "Gazette"))
    frame = pd.DataFrame(rows, columns=["published_at", "title", "source"])
    path = tmp_path_factory.mktemp("stream") / "items.csv"
    frame.sort_values("published_at").to_csv(path, index=False)
    with path.open("a") as file:
        file.write("not a date,bank crash 1,Agency\n")
    return path


def run(stream: Path, folder: Path, labeller: LabelTexts | None, cadence: int = 1) -> ReplayReport:
    return replay(
        stream,
        output=folder,
        labeller=labeller,
        settings=NewsSettings(surges=SurgeSettings(cadence_hours=cadence)),  # type: ignore[arg-type]
        since=END - timedelta(days=20),
        until=END,
    )


def test_the_crisis_and_nothing_else_is_alerted(
    stream: Path, labeller: LabelTexts, tmp_path: Path
) -> None:
    report = run(stream, tmp_path, labeller)
    assert (report.items, report.copies, report.rejected) == (60 * 24 + 48, 24, 1)
    # Told when it opens, and each time that it has become more severe.
    assert (report.evaluated, len(report.alerts), report.mails) == (20 * 24, 1, 3)
    (line,) = (tmp_path / "alerts.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert list(record)[:9] == [
        "topic",
        "opened_at",
        "severity",
        "score",
        "negative",
        "total",
        "expected",
        "share",
        "headlines",
    ]
    assert record["topic"] == "Banks"
    assert CRISIS < datetime.fromisoformat(record["opened_at"]) < CRISIS + timedelta(hours=24)
    assert record["share"] == pytest.approx(record["negative"] / record["total"], abs=1e-4)
    assert record["state"] == "resolved"
    assert all("crash" in title for title in record["headlines"])
    assert record["headlines"][0].startswith("bank crash 7")
    messages = [
        email.message_from_bytes(mail.read_bytes(), policy=default)
        for mail in sorted((tmp_path / "outbox").glob("alert-1.r*.eml"))
    ]
    assert {message["To"] for message in messages} == {"desk@example.com"}
    assert [message["Subject"].partition("Banks: ")[0] for message in messages] == [
        "[Warning] ", "Risen: [High] ", "Risen: [Critical] "
    ]  # fmt: skip
    opened = report.alerts[0]
    first = f"Banks: {opened.negative} of {opened.stories} stories negative"
    assert first in messages[0]["Subject"]
    last = f"Banks: {record['negative']} of {record['total']} stories negative"
    assert (last in messages[2]["Subject"], record["severity"]) == (True, "critical")
    assert "not a date" in (tmp_path / "items.rejects.csv").read_text()


def test_the_trend_has_every_topic_and_day_of_the_period(
    stream: Path, labeller: LabelTexts, tmp_path: Path
) -> None:
    run(stream, tmp_path, labeller, cadence=24)
    trend = pd.read_csv(tmp_path / "trend.csv")
    assert list(trend.columns) == [
        "topic", "start", "stories", "negative", "share", "low", "high", "usual_share", "score",
    ]  # fmt: skip
    assert len(trend) == 3 * 20
    banks = trend[trend.topic == "Banks"].set_index("start")
    first = f"{CRISIS:%Y-%m-%d}"
    row = banks[banks.index.str.startswith(first)].iloc[0]
    assert row.stories == 8 + 12
    assert row.negative >= 12
    assert row.score > 4
    assert banks.score.iloc[0] == 0


def test_two_replays_are_equal_to_the_byte(
    stream: Path, labeller: LabelTexts, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        run(stream, tmp_path / name, labeller, cadence=24)
    files = ["alerts.jsonl", "trend.csv"]
    files += [f"outbox/{p.name}" for p in (tmp_path / "a" / "outbox").iterdir()]
    assert len(files) == 3
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_second_replay_replaces_the_first(
    stream: Path, labeller: LabelTexts, tmp_path: Path
) -> None:
    run(stream, tmp_path, labeller, cadence=24)
    (tmp_path / "outbox" / "mine.eml").write_text("kept")
    run(stream, tmp_path, labeller, cadence=24)
    assert len(list((tmp_path / "outbox").glob("alert-*.eml"))) == 1
    assert (tmp_path / "outbox" / "mine.eml").read_text() == "kept"


def test_what_comes_after_a_moment_does_not_change_it(
    stream: Path, labeller: LabelTexts, tmp_path: Path
) -> None:
    cut = CRISIS + timedelta(days=1)
    settings = NewsSettings()
    shorter = replay(
        stream,
        output=tmp_path / "short",
        labeller=labeller,
        settings=settings,
        since=END - timedelta(days=20),
        until=cut,
    )
    whole = run(stream, tmp_path / "whole", labeller)
    assert shorter.alerts == whole.alerts


def test_labels_of_the_file_take_the_models_place(
    stream: Path, labeller: LabelTexts, tmp_path: Path
) -> None:
    frame = pd.read_csv(stream).iloc[:-1]
    labels = labeller.label(frame.title.tolist())
    frame["sentiment"] = [label.sentiment for label in labels]
    frame["topics"] = ["|".join(label.topics) for label in labels]
    given = tmp_path / "labelled.csv"
    frame.rename(columns={"published_at": "time", "title": "headline"}).to_csv(given, index=False)
    report = run(given, tmp_path / "out", None, cadence=24)
    with_model = run(stream, tmp_path / "model", labeller, cadence=24)
    assert [a.topic for a in report.alerts] == [a.topic for a in with_model.alerts] == ["Banks"]
    assert report.alerts[0].negative == with_model.alerts[0].negative
    assert report.alerts[0].model == "labels of labelled.csv"


def test_without_model_and_labels_it_says_what_to_do(stream: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        run(stream, tmp_path, None)
    assert str(caught.value) == (
        f"{stream}: without a model the labels must be in the file, and it has no column "
        "'sentiment'; name a model (--model) or add sentiment and topics"
    )


def test_a_sentiment_nobody_knows_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("published_at,title,sentiment,topics\n2026-01-01,a,bad,Oil\n")
    with pytest.raises(DataError) as caught:
        run(path, tmp_path / "out", None)
    assert str(caught.value) == (
        f"{path}: sentiment 'bad' (row 1); allowed: negative, neutral, positive"
    )


def test_a_period_without_headlines_is_one_clear_line(
    stream: Path, labeller: LabelTexts, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as caught:
        replay(
            stream,
            output=tmp_path,
            labeller=labeller,
            settings=NewsSettings(),
            since=datetime(2030, 1, 1, tzinfo=UTC),
            until=datetime(2030, 2, 1, tzinfo=UTC),
        )
    assert str(caught.value) == (
        f"{stream}: no headline lies between 2030-01-01 and 2030-02-01; "
        "the file reaches to 2026-02-28"
    )


def test_an_output_that_is_a_file_is_one_clear_line(
    stream: Path, labeller: LabelTexts, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DataError) as caught:
        run(stream, blocked, labeller)
    assert str(caught.value) == f"{blocked}: cannot be written: File exists"
