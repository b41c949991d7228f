"""Companies in shadow: read for by the candidate too, again with another list, once for all."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, func, select

from apps.news_monitor.articles import Article
from apps.news_monitor.company_watch import CompanyWatch
from apps.news_monitor.ingest import ingest
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.shadow import Shadow, start
from apps.news_monitor.shadow_difference import TopicPair, label_difference
from apps.news_monitor.shadow_view import difference_lines
from apps.news_monitor.stories import CopyIndex
from apps.news_monitor.tables import item
from tests.apps.news_monitor.conftest import Gloomy

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
TITLES = ("bank report of Oryx", "Oryx crash 20", "Tamarin crash", "Oryx opens plant 300")


def test_a_promotion_finds_the_companies_read_by_the_list_as_it_is(
    engine: Engine,
    labeller: LabelTexts,
    story: Callable[[str, datetime, str], Article],
    tmp_path: Path,
) -> None:
    listed = tmp_path / "companies.csv"
    settings = NewsSettings(companies=str(listed))
    candidate = Gloomy(labeller)
    with engine.begin() as connection:
        released = register_model(connection, labeller, NOW)
        start(connection, candidate.name, NOW)
    watch, shadow = CompanyWatch(engine, settings), Shadow(engine, lambda _: candidate)

    def follow(table: str, stamp: int) -> None:
        listed.write_text(table)
        os.utime(listed, (stamp, stamp))
        watch.read(released, [])

    def both_label() -> ActiveModel:
        """Returns the candidate's model."""
        label_pending(engine, released, now=NOW, limit=99, companies=watch.following)
        watch.judge(released, NOW, NOW, [])  # the released model reads again for a new list
        with engine.begin() as connection:
            last = connection.execute(select(func.coalesce(func.max(item.c.id), 0))).scalar_one()
        done = shadow.run(
            NOW, until=last, released=labeller.fingerprint, free=lambda: True,
            companies=watch.following,
        )  # fmt: skip
        assert done is not None
        assert (done.problem, done.waiting) == ("", 0)
        with engine.begin() as connection:
            return register_model(connection, candidate, NOW)

    def companies(model: ActiveModel) -> tuple[TopicPair, ...]:
        with engine.begin() as connection:
            found = label_difference(connection, released.id, model.id)
        assert {pair.topic for pair in found.topics} == {"Banks"}
        lines = list(difference_lines(found, ("a", "b")))
        assert [line.split("  ")[0].strip() for line in lines[-2:]] == [
            "company",
            found.companies[0].topic,
        ]
        return found.companies

    follow("company,ticker\nOryx,ORX\n", 1)
    both_label()
    with engine.begin() as connection:
        articles = [story(title, NOW, "Wire") for title in TITLES]
        ingest(connection, articles, copies=CopyIndex(), fetched=NOW)
    assert companies(both_label()) == (TopicPair("Oryx (ORX)", 3, 3, 3, 1, 2),)

    follow("company,ticker\nTamarin,TMR\n", 2)
    model = both_label()
    assert companies(model) == (TopicPair("Tamarin (TMR)", 1, 1, 1, 1, 1),)

    promoted = CompanyWatch(engine, settings)
    candidate.asked, lines = 0, list[str]()
    promoted.read(model, lines)
    promoted.judge(model, NOW, NOW, lines)
    assert (candidate.asked, lines) == (0, [])
