"""From one configuration to the next: another model, rule or list goes on where the last one stood.

Counts and thresholds are never taken over, for no baseline mixes two models or two lists. What is
open is: a surge that was mailed under the old configuration is not mailed again under the new one.
"""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from apps.news_monitor.judging_tables import alert, attention_state, detector_config, detector_state


def take_over(
    connection: Connection, config_id: int, topic_ids: Sequence[int], *, companies: bool
) -> None:
    """From the configuration of topics, or of companies, that judged after this one did: each
    surge that is open stays open, and one of a topic that is no longer followed is over."""
    before = _last(connection, companies)
    if before is None or before.id == config_id:
        return
    for table in (detector_state, attention_state):
        names = [column.name for column in table.columns if column.name != "config_id"]
        connection.execute(delete(table).where(table.c.config_id == config_id))
        for row in connection.execute(select(table).where(table.c.config_id == before.id)).all():
            if row.topic_id in topic_ids:
                kept = {name: getattr(row, name) for name in names}
                connection.execute(insert(table).values(config_id=config_id, **kept))
            elif table is detector_state and row.alert_id is not None:
                connection.execute(
                    update(alert)
                    .where(alert.c.id == row.alert_id, alert.c.state == "firing")
                    .values(state="resolved", resolved_at=before.evaluated_until)
                )
    connection.execute(
        update(detector_config)
        .where(detector_config.c.id == config_id)
        .values(evaluated_until=before.evaluated_until)
    )


def _last(connection: Connection, companies: bool) -> Any:
    """The configuration of its kind that judged last, None before any did."""
    rows = connection.execute(
        select(detector_config)
        .where(detector_config.c.evaluated_until.is_not(None))
        .order_by(detector_config.c.evaluated_until.desc(), detector_config.c.id.desc())
    )
    return next(
        (row for row in rows if ("companies" in json.loads(row.settings_json)) == companies), None
    )
