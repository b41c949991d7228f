"""One topic: where it stands and why, its trend by day and hour, its alerts, its stories."""

import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.alerts_page import show_why
from apps.news_monitor.database_choice_page import judging, show_over
from apps.news_monitor.mail import in_words
from apps.news_monitor.page_data import topic_tiles
from apps.news_monitor.story_data import topic_stories
from apps.news_monitor.subject_page import show_alerts, show_tile, show_trend, story_table
from apps.news_monitor.why_no_alert import why
from shared.errors import TriptychError

STORIES_SHOWN = 50


def show(connection: Connection, _chosen: str, _url: str) -> None:
    detector = judging(connection)
    if detector is None:
        return
    tiles = {tile.topic: tile for tile in topic_tiles(connection, detector)}
    # Those that fire stand first; those without a story in any window last.
    name = st.selectbox("Topic", list(dict.fromkeys((*tiles, *detector.topics))))
    st.caption(f"Judged up to {in_words(detector.until)} by model {detector.model}.")
    if name in tiles:
        show_tile(tiles[name])
    else:
        st.caption("No story in any window at the last moment judged.")
    st.subheader("Trend")
    show_trend(connection, detector, name)
    st.subheader("Why, or why not")
    try:
        show_why(why(connection, name))
    except TriptychError as error:
        st.text(str(error))
    st.subheader("Alerts")
    show_alerts(connection, detector, name)
    st.subheader("Newest stories")
    story_table(topic_stories(connection, detector.model_id, detector.topics[name], STORIES_SHOWN))


def main() -> None:
    show_over("Topic", show)


if __name__ == "__main__":
    main()
