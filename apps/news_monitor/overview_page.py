"""Every topic at a glance: how negative its news is now, what is usual, what stops an alert."""

import os

import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.database_choice_page import judging, show_over
from apps.news_monitor.mail import in_words, names_of
from apps.news_monitor.page_data import LIVE, Detector, TopicTile, topic_tiles
from apps.news_monitor.source_data import overdue_as_set, source_frame
from apps.news_monitor.subject_page import show_tile, show_trend

COLUMNS = 3


def show_topics(connection: Connection, detector: Detector, tiles: list[TopicTile]) -> None:
    st.caption(f"Judged up to {in_words(detector.until)} by model {detector.model}.")
    for begin in range(0, len(tiles), COLUMNS):
        row = st.columns(COLUMNS)
        for place, tile in zip(row, tiles[begin : begin + COLUMNS], strict=False):
            with place:
                show_tile(tile)
    st.subheader("Trend")
    name = st.selectbox("Topic", [tile.topic for tile in tiles])
    # Of the chosen one alone: all of them took 4 s of processor time at a million stories.
    show_trend(connection, detector, name)


def feeds_sentence(connection: Connection) -> str:
    """How many feeds deliver, and which do not."""
    feeds = source_frame(connection, overdue_as_set(os.environ))
    if feeds.empty:
        return "No feeds are read."
    bad = feeds[(feeds["failures in a row"] > 0) | feeds["silent"] | feeds["last answer"].isna()]
    said = f"{len(feeds) - len(bad)} of {len(feeds)} feeds deliver"
    missing = f"; not: {names_of(bad['feed'].tolist())}" if len(bad) else ""
    return f"{said}{missing}. More on the page Sources."


def show(connection: Connection, chosen: str, _url: str) -> None:
    detector = judging(connection)
    if detector is not None:
        tiles = topic_tiles(connection, detector)
        if tiles:
            show_topics(connection, detector, tiles)
    st.subheader("Sources")
    if chosen == LIVE:
        # As plain text: a feed's title is not ours to be read as markup.
        st.text(feeds_sentence(connection))
    else:
        st.caption("A replay reads a file, no feeds.")


def main() -> None:
    show_over("News monitor", show)


if __name__ == "__main__":
    main()
