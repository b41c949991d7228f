"""Which database a page of the monitor shows: the running one's, or a replay's."""

import os

import streamlit as st

from apps.news_monitor.page_data import databases
from shared.errors import TriptychError
from shared.settings import default_home

NOTHING_READ = "Nothing has been read yet. Start the monitor with `triptych news run`."


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
