"""The benchmark of the pages: every query runs on what it made, and finds what it should."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from apps.news_monitor.page_data import alert_rows, last_detector, reading
from apps.news_monitor.tables import bucket, item, item_topic
from pipelines import pages
from pipelines.benchmark_browser import PAGES, benchmark_browser
from pipelines.benchmark_pages import ALERTS, COMPANIES, SHADOW, TOPICS, fill, queries
from shared.errors import ServiceError


def test_each_query_finds_the_rows_that_were_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pages.db'}"
    fill(url, 2000, 5)
    with reading(url) as connection:
        assert connection is not None
        stories = select(func.count()).select_from(item)
        assert connection.execute(stories).scalar_one() == 2000
        assert connection.execute(stories.where(item.c.copy_of.is_(None))).scalar_one() == 1600
        # Every story is counted once for its topic, and once for its company if it names one.
        counted = connection.execute(select(func.sum(bucket.c.stories))).scalar_one()
        named = connection.execute(select(func.count()).select_from(item_topic)).scalar_one()
        assert counted == named > 1600
        shadowed = select(func.count()).where(item_topic.c.model_id == SHADOW)
        assert connection.execute(shadowed).scalar_one() == 80
        detector = last_detector(connection, companies=True)
        assert detector is not None
        assert len(detector.topics) == COMPANIES
        assert len(alert_rows(connection)) == min(200, ALERTS)
        found = {(page, query): ask(connection) for page, query, ask in queries(connection)}
    assert len(found["overview", "tiles"]) == TOPICS  # type: ignore[arg-type]
    assert len(found["companies", "one's stories"]) > 0  # type: ignore[arg-type]
    assert {page for page, _ in found} == {
        "overview",
        "topic",
        "sources",
        "alerts",
        "companies",
        "laboratory",
        "shadow",
        "stories",
        "(monitor)",
    }
    assert found["(monitor)", "labels wanting, first round"] == 0
    both: Any = found["shadow", "labels of both"]
    assert (both.stories, both.stories - both.same) == (80, 7)


def test_every_page_of_the_news_is_opened() -> None:
    front_door = Path(pages.__file__).read_text(encoding="utf-8")
    there = re.findall(r'st\.Page\(news / "(\w+)\.py"', front_door)
    assert sorted(there) == sorted(PAGES)


def test_without_a_browser_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError) as caught:
        benchmark_browser(1000, print)
    assert str(caught.value) == (
        "no browser: install Chromium (`apt-get install chromium`) and the extra dev "
        "(`pip install 'triptych[dev]'`)"
    )
