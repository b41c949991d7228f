"""What is shown of the companies, read from the tables; no model is loaded for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, inspect, or_, select

from apps.news_monitor.ingest import epoch_hour
from apps.news_monitor.page_data import Detector, TopicTile, topic_tiles
from apps.news_monitor.story_data import Story, topic_stories
from apps.news_monitor.tables import bucket, company
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
) -> list[Story]:
    """The newest stories that name a company, and what each says of it."""
    return topic_stories(connection, detector.model_id, detector.topics[title], limit)


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
