"""What is owed and could not be delivered; who is written to; dropped files; the last rounds."""

import os
from datetime import datetime
from functools import partial

import pandas as pd
import streamlit as st
from sqlalchemy import Connection, Table

from apps.news_monitor.alerts_page import act
from apps.news_monitor.outbox_data import (
    Owed,
    dropped_files,
    last_rounds,
    owed_calls,
    owed_mails,
    recipients,
    running,
)
from apps.news_monitor.owed import try_again
from apps.news_monitor.page_data import LIVE, databases, reading
from apps.news_monitor.responses import answerable, write_to
from apps.news_monitor.subject_page import show_table
from apps.news_monitor.telling_tables import outbox, webhook_call
from shared.errors import TriptychError
from shared.settings import default_home

NOTHING = "Nothing has been sent yet. Start the monitor with `triptych news run`."


def show_owed(title: str, rows: list[Owed], table: Table, database: str) -> None:
    """The newest first; what was given up has a way back into the queue."""
    st.subheader(title)
    if not rows:
        st.caption("None yet.")
        return
    frame = pd.DataFrame(
        [
            {
                "owed since": row.created_at,
                "what": row.what,
                "to": row.to,
                "state": row.state,
                "attempts": row.attempts,
                "next attempt": row.next_try_at,
                "sent": row.sent_at,
                "reason": row.last_error,
            }
            for row in rows
        ]
    )
    show_table(frame)
    for row in rows:
        if row.state != "dead":
            continue
        said, again = st.columns([5, 1], vertical_alignment="center")
        # As plain text: what a server answers is not ours to be read as markup.
        said.text(f"Given up: {row.what} to {row.to}. {row.last_error}")
        if again.button("Try again", key=f"{table.name}{row.id}"):
            act(database, partial(try_again, table=table, number=row.id))


def show_recipients(connection: Connection, database: str) -> None:
    st.subheader("Recipients")
    for number, email, wanted in recipients(connection):
        said, change = st.columns([5, 1], vertical_alignment="center")
        said.text(email if wanted else f"{email}: unsubscribed")
        if change.button("Unsubscribe" if wanted else "Subscribe again", key=f"to{number}"):
            act(database, partial(_change, number, not wanted))


def _change(number: int, wanted: bool, connection: Connection, at: datetime) -> None:  # noqa: ARG001
    write_to(connection, number, wanted)


def show_files(connection: Connection) -> None:
    found = dropped_files(connection)
    if found:
        st.subheader("Dropped files")
        show_table(pd.DataFrame(found))


def show_rounds(connection: Connection) -> None:
    st.subheader("Jobs")
    said = running(connection)
    st.text(said or "No monitor holds this database now.")
    rounds = last_rounds(connection)
    if rounds:
        show_table(pd.DataFrame(rounds))


def main() -> None:
    st.title("Outbox and jobs")
    try:
        choices = databases(default_home(os.environ), os.environ)
    except TriptychError as error:
        st.error(str(error))
        return
    if LIVE not in choices:
        st.info(NOTHING)
        return
    database = choices[LIVE]
    with reading(database) as connection:
        if connection is None or not answerable(connection):
            st.info(NOTHING)
            return
        mails, calls = owed_mails(connection), owed_calls(connection)
        show_owed("Mails", mails, outbox, database)
        show_owed("Webhooks", calls, webhook_call, database)
        show_recipients(connection, database)
        show_files(connection)
        show_rounds(connection)


if __name__ == "__main__":
    main()
