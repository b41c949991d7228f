"""More news than usual: noted when it is no worse than usual, left to the alert when it is."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from apps.news_monitor.articles import Article
from apps.news_monitor.attention import attention_line, attention_since, volume_scores
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.page_data import alert_rows, reading
from apps.news_monitor.replay import replay
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from apps.news_monitor.surges import SurgeRule

END = datetime(2026, 3, 1, tzinfo=UTC)
FAIR = END - timedelta(days=6)
Ordinary = Callable[[datetime, int], list[Article]]


def test_the_score_is_the_rarest_window_with_twice_as_many_stories_as_usual() -> None:
    scan = SimpleNamespace(
        rule=SurgeRule(windows_hours=(24, 72), min_history_days=14),
        days=np.array([20, 3]),
        stories=np.array([[[12, 30], [9, 30], [40, 60]]] * 2),
        expected_stories=np.array([[[6.0, 15.1], [3.0, 10.0], [30.0, 31.0]]] * 2),
        p_volume=np.array([[[1e-3, 1e-6], [1e-5, 1e-4], [0.5, 0.3]]] * 2),
    )
    score, window, calm = volume_scores(cast(Any, scan), 0)
    # 30 is not twice 15.1; 9 are too few, 30 of 10 do; 40 and 60 are no rarity.
    assert score == pytest.approx([3.0, 4.0, 0.0])
    assert window[:2].tolist() == [0, 1]
    assert calm.tolist() == [False, False, True]
    assert volume_scores(cast(Any, scan), 1)[0].tolist() == [0.0, 0.0, 0.0]  # still learning


@pytest.mark.parametrize("word", ["report", "crash"])
def test_a_fair_is_attention_and_a_crisis_is_an_alert(
    word: str, ordinary: Ordinary, labeller: LabelTexts, tmp_path: Path
) -> None:
    rows = [(a.published_at, a.title, a.publisher) for a in ordinary(END, 60)]
    names = ("Agency", "Courier", "Gazette", "Herald")
    rows += [
        (FAIR + timedelta(minutes=60 * n + 30), f"bank {word} {70000 + n}", names[n % 4])
        for n in range(48)
    ]
    path = tmp_path / "items.csv"
    frame = pd.DataFrame(rows, columns=["published_at", "title", "source"])
    frame.sort_values("published_at").to_csv(path, index=False)
    report = replay(
        path,
        output=tmp_path / "out",
        labeller=labeller,
        settings=NewsSettings(surges=SurgeSettings(cadence_hours=24)),
        since=END - timedelta(days=20),
        until=END,
    )
    with reading(f"sqlite:///{tmp_path / 'out' / 'replay.db'}") as connection:
        assert connection is not None
        found = attention_since(connection, END - timedelta(days=20))
        told = [row.evidence.topic for row in alert_rows(connection)]
    if word == "crash":
        assert (told, report.mails, found) == (["Banks"], 1, [])
        return
    assert (told, report.mails) == ([], 0)
    (fair,) = found
    assert (fair.topic, fair.stories, fair.window_hours) == ("Banks", 8 + 24, 24)
    assert fair.opened_at == FAIR + timedelta(days=1)
    assert fair.resolved_at is not None
    assert fair.resolved_at >= FAIR + timedelta(days=4)
    assert attention_line(fair) == (
        "Banks: 32 stories in 24 hours (usual 8), 3% of them negative (usual 13%): more "
        "attention, no alert"
    )
