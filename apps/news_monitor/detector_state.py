"""Where each topic's episode stands between two runs: read, advanced in memory, written back."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, delete, insert, select

from apps.news_monitor.episodes import Episodes

CELL = ("config_id", "topic_id", "phase", "streak", "cool_until")


@dataclass
class TopicStates:
    """episodes: one cell for each topic; alerts: by position, the id of what is open (or cooling):
    an alert, or an attention."""

    episodes: Episodes
    alerts: dict[int, int] = field(default_factory=dict)


def read_states(
    connection: Connection, table: Table, config_id: int, topic_ids: Sequence[int]
) -> TopicStates:
    """The states of these topics, in their order; quiet where nothing is stored.

    table: news_detector_state or news_attention_state.
    """
    state = TopicStates(Episodes.quiet(len(topic_ids)))
    place = {number: i for i, number in enumerate(topic_ids)}
    reference = _reference(table)
    query = select(table).where(table.c.config_id == config_id)
    for row in connection.execute(query).mappings():
        i = place[row["topic_id"]]
        state.episodes.phase[i] = row["phase"]
        state.episodes.streak[i] = row["streak"]
        state.episodes.cool_until[i] = row["cool_until"]
        if row[reference] is not None:
            state.alerts[i] = row[reference]
    return state


def write_states(
    connection: Connection,
    table: Table,
    config_id: int,
    topic_ids: Sequence[int],
    state: TopicStates,
) -> None:
    """Replace what is stored."""
    rows = [
        {
            "config_id": config_id,
            "topic_id": number,
            "phase": int(state.episodes.phase[i]),
            "streak": int(state.episodes.streak[i]),
            "cool_until": int(state.episodes.cool_until[i]),
            _reference(table): state.alerts.get(i),
        }
        for i, number in enumerate(topic_ids)
    ]
    connection.execute(delete(table).where(table.c.config_id == config_id))
    connection.execute(insert(table), rows)


def _reference(table: Table) -> str:
    """The column with the id of what is open."""
    return next(column.name for column in table.columns if column.name not in CELL)
