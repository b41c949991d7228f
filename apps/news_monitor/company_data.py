"""What is shown of the companies, read from the tables; no model is loaded for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, inspect, or_, select

from apps.news_monitor.evidence import Evidence
from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.judging_tables import alert
from apps.news_monitor.page_data import AlertRow, Detector, TopicTile, topic_tiles
from apps.news_monitor.responses import answers_to
from apps.news_monitor.tables import (
    bucket,
    company,
    item,
    item_topic,
    prediction,
    said_label,
    said_p_negative,
)
from apps.news_monitor.why_no_alert import table_lines

MONTH_HOURS = 28 * 24
STORIES_SHOWN = 50
HEADINGS = ("company", "state", "28 days", "share", "now", "usual", "score")


@dataclass(frozen=True)
class CompanyLine:
    """A company of the list. stories, negative: of the last 28 days; tile: as last judged, None
    where it had no story in any window then."""

    title: str
    stories: int
    negative: int
    tile: TopicTile | None

    @property
    def share(self) -> float:
        return self.negative / self.stories if self.stories else 0.0

    @property
    def state(self) -> str:
        return self.tile.state if self.tile else "quiet"


@dataclass(frozen=True)
class CompanyStory:
    """A story that names a company. sentiment, p_negative: what it says of this one; own: asked of
    the model for this company alone, for others are named beside it."""

    title: str
    url: str
    publisher: str
    at: datetime
    sentiment: str
    p_negative: float
    own: bool


def has_companies(connection: Connection) -> bool:
    """False for the database of an earlier version that no monitor has brought up to date."""
    return inspect(connection).has_table(company.name)


def title_of(connection: Connection, called: str) -> str:
    """The title of the followed company with this name or ticker; else what was given."""
    if not has_companies(connection):
        return called
    wanted = called.strip()
    rows = connection.execute(
        select(company.c.name, company.c.ticker).where(
            company.c.enabled.is_(True),
            or_(company.c.name == wanted, company.c.ticker == wanted.upper().lstrip("$")),
        )
    ).all()
    if len(rows) != 1:
        return called
    row = rows[0]
    return f"{row.name} ({row.ticker})" if row.ticker else str(row.name)


def company_lines(connection: Connection, detector: Detector) -> list[CompanyLine]:
    """Every company that was judged, firing ones first, then by score, then by stories."""
    end = epoch_hour(detector.until)
    totals = {
        row.topic_id: (int(row.stories), int(row.negative))
        for row in connection.execute(
            select(
                bucket.c.topic_id,
                func.sum(bucket.c.stories).label("stories"),
                func.sum(bucket.c.negative).label("negative"),
            )
            .where(
                bucket.c.model_id == detector.model_id,
                bucket.c.hour >= end - MONTH_HOURS,
                bucket.c.hour < end,
                bucket.c.topic_id.in_(list(detector.topics.values())),
            )
            .group_by(bucket.c.topic_id)
        )
    }
    tiles = {tile.topic: tile for tile in topic_tiles(connection, detector)}
    lines = [
        CompanyLine(title, *totals.get(number, (0, 0)), tiles.get(title))
        for title, number in detector.topics.items()
    ]
    order = {"firing": 0, "pending": 1, "cooling down": 2, "quiet": 3}
    return sorted(
        lines,
        key=lambda one: (
            order[one.state],
            -(one.tile.score if one.tile else 0.0),
            -one.stories,
            one.title,
        ),
    )


def company_stories(
    connection: Connection, detector: Detector, title: str, limit: int = STORIES_SHOWN
) -> list[CompanyStory]:
    """The newest stories that name a company, and what each says of it."""
    query = (
        select(item.c.title, item.c.summary, item.c.url, item.c.publisher, item.c.effective_at)
        .add_columns(said_label().label("sentiment"), said_p_negative().label("p_negative"))
        .add_columns(item_topic.c.label.is_not(None).label("own"))
        .select_from(item_topic)
        .join(item, item.c.id == item_topic.c.item_id)
        .join(
            prediction,
            and_(
                prediction.c.item_id == item_topic.c.item_id,
                prediction.c.model_id == item_topic.c.model_id,
            ),
        )
        .where(
            item_topic.c.topic_id == detector.topics[title],
            item_topic.c.model_id == detector.model_id,
        )
        .order_by(item_topic.c.item_id.desc())
        .limit(limit)
    )
    found = [
        CompanyStory(
            row.title or row.summary,
            row.url,
            row.publisher,
            row.effective_at,
            row.sentiment,
            row.p_negative,
            bool(row.own),
        )
        for row in connection.execute(query)
    ]
    return sorted(found, key=lambda story: story.at, reverse=True)


def company_alerts(connection: Connection, detector: Detector, title: str) -> list[AlertRow]:
    """Alerts of one company, the newest first, without their mails."""
    rows = connection.execute(
        select(alert.c.id, alert.c.state, alert.c.resolved_at, alert.c.evidence_json)
        .where(alert.c.topic_id == detector.topics[title])
        .order_by(alert.c.opened_at.desc())
        .limit(STORIES_SHOWN)
    ).all()
    answers = answers_to(connection, [row.id for row in rows])
    return [
        AlertRow(
            row.id,
            row.state,
            row.resolved_at,
            Evidence.from_json(row.evidence_json),
            {},
            answers[row.id],
        )
        for row in rows
    ]


def lines_of(companies: Sequence[CompanyLine]) -> list[str]:
    """The companies as a table for a terminal."""
    rows = []
    for one in companies:
        tile = one.tile
        rows.append(
            (
                one.title,
                one.state,
                f"{one.negative} of {one.stories}",
                f"{one.share:.0%}" if one.stories else "",
                f"{tile.negative} of {tile.stories} in {tile.window_hours} h" if tile else "",
                f"{tile.usual_share:.0%}" if tile else "",
                f"{tile.score:.1f} of {tile.threshold:.1f}" if tile else "",
            )
        )
    return table_lines(HEADINGS, rows)
