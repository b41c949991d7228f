"""Companies among the topics: their rows, what stories say of them, and reading the past again.

A company is a topic that is found by its name instead of by the model. With another list the past
is read anew before anything is judged, so that no baseline mixes two lists; where a story names one
company, what the story says is said of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Select, case, delete, func, insert, select, update

from apps.news_monitor.bucket_counts import rebuild_buckets
from apps.news_monitor.companies import CompanyList
from apps.news_monitor.company_names import CompanyFinder
from apps.news_monitor.company_sentiment import said_of, texts_about
from apps.news_monitor.ingest import insert_new
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.tables import (
    bucket,
    company,
    company_reading,
    item,
    item_topic,
    prediction,
    topic,
)
from shared.errors import SettingsError


@dataclass(frozen=True)
class Followed:
    """Companies as they are judged. topics: title -> id; fingerprint: of their list, of which those
    may be absent that no story names."""

    topics: dict[str, int]
    fingerprint: str


@dataclass(frozen=True)
class Following:
    """A list as the database knows it. topics: title -> id, in the list's order. asks: whether the
    model is asked about each company of a story that names several; labels that were given
    beforehand know whole headlines only."""

    listed: CompanyList
    finder: CompanyFinder
    topics: dict[str, int]
    asks: bool = True

    @property
    def followed(self) -> Followed:
        return Followed(self.topics, self.listed.fingerprint)

    def rows(
        self, labeller: LabelTexts, model_id: int, item_ids: Sequence[int], texts: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Rows of item_topic for the companies that these stories name."""
        numbers = list(self.topics.values())
        rows: list[dict[str, Any]] = []
        asked: list[tuple[dict[str, Any], tuple[str, str]]] = []
        for item_id, text in zip(item_ids, texts, strict=True):
            mentions = self.finder.find(text)
            about = texts_about(text, mentions) if self.asks else {}
            for place in sorted({mention.company for mention in mentions}):
                row: dict[str, Any] = {
                    "item_id": item_id,
                    "model_id": model_id,
                    "topic_id": numbers[place],
                    "score": 1.0,
                    "label": None,
                    "p_negative": None,
                    "p_neutral": None,
                    "p_positive": None,
                    "negative": None,
                }
                rows.append(row)
                if place in about:
                    asked.append((row, about[place]))
        wholes = labeller.label([whole for _, (whole, _) in asked])
        clauses = labeller.label([clause for _, (_, clause) in asked])
        for (row, _), whole, clause in zip(asked, wholes, clauses, strict=True):
            said = said_of(whole, clause)
            row |= {
                "label": said.sentiment,
                "p_negative": said.p_negative,
                "p_neutral": said.p_neutral,
                "p_positive": said.p_positive,
                "negative": said.negative,
            }
        return rows


def follow(
    connection: Connection,
    listed: CompanyList,
    finder: CompanyFinder,
    labeller: LabelTexts,
    model_id: int,
    *,
    asks: bool = True,
) -> Following:
    """The list's rows, made if they are new; with another list than before the model's stories are
    to be read again (`read_again`).

    Raises SettingsError for a company that is called as a topic of the model.
    """
    titles = [entry.title for entry in listed.companies]
    for title in titles:
        if title in labeller.topics:
            raise SettingsError(
                f"company {title!r} has the name of a topic of model {labeller.name}; give it a "
                "ticker in the list of companies, or another name"
            )
    insert_new(connection, topic, [{"name": title, "enabled": True} for title in titles])
    found = connection.execute(select(topic.c.name, topic.c.id)).all()
    ids = {row.name: row.id for row in found}
    followed = Following(listed, finder, {title: ids[title] for title in titles}, asks)
    rows = [
        {"topic_id": ids[one.title], "name": one.name, "ticker": one.ticker, "enabled": True}
        for one in listed.companies
    ]
    insert_new(connection, company, rows)
    mine = company.c.topic_id.in_(list(followed.topics.values()))
    connection.execute(update(company).values(enabled=case((mine, True), else_=False)))
    _note_list(connection, listed.fingerprint, model_id)
    return followed


def unfollow(connection: Connection, model_id: int) -> None:
    """No list holds any more: what is labelled from now on is read for none, so that even the same
    list, should it come back, has all stories read again."""
    connection.execute(delete(company_reading).where(company_reading.c.model_id == model_id))


def _note_list(connection: Connection, fingerprint: str, model_id: int) -> None:
    known = connection.execute(
        select(company_reading.c.fingerprint).where(company_reading.c.model_id == model_id)
    ).scalar_one_or_none()
    if known == fingerprint:
        return
    companies = select(company.c.topic_id)
    for table in (item_topic, bucket):
        connection.execute(
            delete(table).where(table.c.model_id == model_id, table.c.topic_id.in_(companies))
        )
    labelled = select(func.max(prediction.c.item_id)).where(prediction.c.model_id == model_id)
    last = connection.execute(labelled).scalar_one() or 0
    connection.execute(delete(company_reading).where(company_reading.c.model_id == model_id))
    connection.execute(
        insert(company_reading).values(
            model_id=model_id, fingerprint=fingerprint, position=0, until_id=last
        )
    )


def read_again(
    engine: Engine,
    following: Following,
    labeller: LabelTexts,
    model_id: int,
    *,
    limit: int,
    batch: int = 500,
) -> int:
    """Look for the companies in up to `limit` stories from before the list was there; returns how
    many are left. Cut off at any moment, it goes on where it stopped."""
    numbers = list(following.topics.values())
    for _ in range(-(-limit // batch)):
        with engine.begin() as connection:
            state = _state(connection, model_id)
            stories = connection.execute(
                select(item.c.id, item.c.title, item.c.summary, item.c.hour)
                .join(prediction, prediction.c.item_id == item.c.id)
                .where(
                    prediction.c.model_id == model_id,
                    item.c.id > state.position,
                    item.c.id <= state.until_id,
                )
                .order_by(item.c.id)
                .limit(batch)
            ).all()
        if not stories:
            break
        texts = [row.title or row.summary for row in stories]
        rows = following.rows(labeller, model_id, [row.id for row in stories], texts)
        touched = {row["item_id"] for row in rows}
        hours = sorted({row.hour for row in stories if row.id in touched})
        with engine.begin() as connection:
            if _state(connection, model_id) != state:
                break  # another process was here first, or the list changed
            insert_new(connection, item_topic, rows)
            rebuild_buckets(connection, model_id, hours, numbers)
            connection.execute(
                update(company_reading)
                .where(company_reading.c.model_id == model_id)
                .values(position=stories[-1].id)
            )
    with engine.begin() as connection:
        state = _state(connection, model_id)
        return int(connection.execute(_unread(func.count(), state)).scalar_one())


def list_read(connection: Connection, model_id: int) -> str | None:
    """Fingerprint of the list that all the model's stories were read by; None while some are to be
    read again, or where there is no list."""
    query = select(company_reading).where(company_reading.c.model_id == model_id)
    state = connection.execute(query).one_or_none()
    if state is None:
        return None
    unread = connection.execute(_unread(prediction.c.item_id, state).limit(1)).first()
    return None if unread else str(state.fingerprint)


def _unread(columns: Any, state: Any) -> Select[Any]:
    return (
        select(columns)
        .select_from(prediction)
        .where(
            prediction.c.model_id == state.model_id,
            prediction.c.item_id > state.position,
            prediction.c.item_id <= state.until_id,
        )
    )


def _state(connection: Connection, model_id: int) -> Any:
    query = select(company_reading).where(company_reading.c.model_id == model_id)
    return connection.execute(query.with_for_update()).one()
