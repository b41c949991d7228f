"""Which database a page of the monitor shows: the running one's, or a replay's."""

import os
from collections.abc import Callable

import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.page_data import Detector, databases, last_detector, reading
from shared.errors import TriptychError
from shared.settings import default_home

NOTHING_READ = "Nothing has been read yet. Start the monitor with `triptych news run`."
NOTHING_JUDGED = "No moment has been judged yet: that takes a model and labelled stories."


def chosen_database(nothing: str = NOTHING_READ) -> tuple[str, str] | None:
    """Name and URL of what was chosen in the sidebar; None, and a word about it, without any."""
    try:
        choices = databases(default_home(os.environ), os.environ)
    except TriptychError as error:
        st.error(str(error))
        return None
    if not choices:
        st.info(nothing)
        return None
    chosen = st.sidebar.selectbox("Show", list(choices))
    return chosen, choices[chosen]


def show_over(title: str, show: Callable[[Connection, str, str], None]) -> None:
    """A page over the chosen database. show: takes a connection that reads it, its name and its
    URL; not called, and a word said about it, while there is nothing to read."""
    st.title(title)
    found = chosen_database()
    if found is None:
        return
    chosen, url = found
    with reading(url) as connection:
        if connection is None:
            st.info(NOTHING_READ)
        else:
            show(connection, chosen, url)


def judging(connection: Connection) -> Detector | None:
    """The configuration of the topics that judged last; None, and a word about it, without any."""
    detector = last_detector(connection)
    if detector is None:
        st.info(NOTHING_JUDGED)
    return detector
