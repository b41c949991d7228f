"""Archives that are dropped while the monitor judges: counted at once, when all of one is labelled.

Of a past that is labelled in part, what has its labels would look like a surge and the rest like
quiet days. So an archive that is too large for a round belongs to no count while it is labelled:
judging goes on by what was counted before it came. See label_rounds.py for what happens then.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from sqlalchemy import Connection, and_, case, func, inspect, or_, select, true
from sqlalchemy.sql.elements import ColumnElement

from apps.news_monitor.memos import forget, note, recall
from apps.news_monitor.tables import item, memo

NEW, HELD = "files taken", "archives held"
LATE_HOURS = 24
"""A file of stories that mostly lie further back than this, before the last hour that was judged,
is an archive. What comes later than that is late news, and is counted as it is labelled."""


@dataclass(frozen=True)
class Archive:
    """Stories of a file: those of the ids (after, until] and of the epoch hour since or later, the
    past that judging reads. Older ones are told apart in backlog.py."""

    after: int
    until: int
    since: int


def note_file(connection: Connection, after: int) -> None:
    """Remember that a file's stories are those after this id, in the transaction that stores them,
    until it is decided what becomes of them."""
    files = [*json.loads(recall(connection, NEW) or "[]"), [after, last_item(connection)]]
    note(connection, NEW, json.dumps(files))


def last_item(connection: Connection) -> int:
    """The id of the newest item, 0 before there is one."""
    return int(connection.execute(select(func.max(item.c.id))).scalar_one() or 0)


def files_to_decide_on(connection: Connection) -> bool:
    return recall(connection, NEW) is not None


def decide(connection: Connection, judged: int | None, since: int, *, busy: bool) -> None:
    """Hold back the archives among the files taken since the last decision. judged: the epoch hour
    up to which all is judged, None before any is: then there is no judging to go on. busy: more is
    to be labelled first than this round can."""
    files = json.loads(recall(connection, NEW) or "[]")
    forget(connection, NEW)
    if judged is None or not busy:
        return
    found = []
    for after, until in files:
        archive = Archive(after, until, since)
        late = case((item.c.hour < judged - LATE_HOURS, 1), else_=0)
        query = select(func.count(), func.coalesce(func.sum(late), 0)).where(within([archive]))
        stories, old = connection.execute(query).one()
        if 2 * old > stories:
            found.append(archive)
    if found:
        hold(connection, [*held(connection), *found])


def held(connection: Connection) -> tuple[Archive, ...]:
    """Archives that belong to no count yet; none in a replay of a version before there were any."""
    if not inspect(connection).has_table(memo.name):
        return ()
    return tuple(Archive(*one) for one in json.loads(recall(connection, HELD) or "[]"))


def hold(connection: Connection, archives: Sequence[Archive]) -> None:
    note(connection, HELD, json.dumps([astuple(one) for one in archives]))


def within(archives: Sequence[Archive]) -> ColumnElement[bool]:
    """Of an item: it is of one of these archives."""
    return or_(
        *(
            and_(
                item.c.id > one.after,
                item.c.id <= one.until,
                item.c.hour >= one.since,
                item.c.source_id.is_(None),
            )
            for one in archives
        )
    )


def counted(connection: Connection) -> ColumnElement[bool]:
    """Of an item: it is of no archive that belongs to no count yet."""
    archives = held(connection)
    return ~within(archives) if archives else true()
