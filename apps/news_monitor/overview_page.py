"""Every topic at a glance: how negative its news is now, what is usual, what stops an alert."""

import altair as alt
import pandas as pd
import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.database_choice_page import NOTHING_READ, chosen_database
from apps.news_monitor.page_data import (
    LIVE,
    Detector,
    TopicTile,
    last_detector,
    reading,
    source_frame,
    topic_tiles,
    topic_trend,
)

BADGES = {
    "firing": ":red-badge[firing]",
    "pending": ":orange-badge[pending]",
    "cooling down": ":blue-badge[cooling down]",
    "quiet": ":green-badge[quiet]",
}
COLUMNS = 3
TREND_DAYS = 90
RED, GREY, BAND = "#c62828", "#c9ced6", "#9db8d9"


def show_tile(tile: TopicTile) -> None:
    with st.container(border=True):
        st.markdown(BADGES[tile.state])
        if tile.stories:
            change = (
                f"{tile.share - tile.usual_share:+.0%} against the usual {tile.usual_share:.0%}"
            )
            value = f"{tile.negative} of {tile.stories}"
            st.metric(tile.topic, value, change, delta_color="inverse")
        else:
            st.metric(tile.topic, "no stories")
        hours = tile.window_hours
        span = f"last {hours} hours" if hours <= 24 else f"last {hours // 24} days"
        if tile.score > 0:
            said = f"score {tile.score:.1f}, alerts start at {tile.threshold:.1f}"
        else:
            said = f"no score: {tile.why}"
        st.caption(f"negative stories, {span}; {said}")


def trend_chart(frame: pd.DataFrame) -> alt.LayerChart:
    """Daily negative share with its 95 % interval over the stories of each day."""
    base = alt.Chart(frame).encode(x=alt.X("start:T", title=None))
    hint = [
        alt.Tooltip("start:T", title="day"),
        "stories",
        "negative",
        alt.Tooltip("share", format=".0%"),
    ]
    share = alt.Y("share:Q", title="negative share", axis=alt.Axis(format="%"))
    bars = base.mark_bar(color=GREY, opacity=0.5).encode(
        y=alt.Y("stories:Q", title="stories"), tooltip=hint
    )
    band = base.mark_area(color=BAND, opacity=0.35).encode(
        y=alt.Y("low:Q", title="negative share", axis=alt.Axis(format="%")), y2="high:Q"
    )
    line = base.mark_line(color=RED, point=True).encode(y=share, tooltip=hint)
    chart: alt.LayerChart = alt.layer(bars, band + line).resolve_scale(y="independent")
    return chart.properties(height=280)


def show_topics(connection: Connection, detector: Detector, tiles: list[TopicTile]) -> None:
    st.caption(
        f"Judged up to {detector.until:%a} {detector.until.day} {detector.until:%b %Y, %H:%M} UTC "
        f"by model {detector.model}."
    )
    for begin in range(0, len(tiles), COLUMNS):
        row = st.columns(COLUMNS)
        for place, tile in zip(row, tiles[begin : begin + COLUMNS], strict=False):
            with place:
                show_tile(tile)
    st.subheader("Trend")
    name = st.selectbox("Topic", [tile.topic for tile in tiles])
    # Of the chosen one alone: all of them took 4 s of processor time at a million stories.
    trend = topic_trend(connection, detector, name, TREND_DAYS)
    st.altair_chart(trend_chart(trend), width="stretch")


def main() -> None:
    st.title("News monitor")
    found = chosen_database()
    if found is None:
        return
    chosen, url = found
    with reading(url) as connection:
        if connection is None:
            st.info(NOTHING_READ)
            return
        detector = last_detector(connection)
        sources = source_frame(connection)
        tiles = topic_tiles(connection, detector) if detector else []
        if detector and tiles:
            show_topics(connection, detector, tiles)
        else:
            st.info("No moment has been judged yet: that takes a model and labelled stories.")
    st.subheader("Sources")
    if chosen != LIVE:
        st.caption("A replay reads a file, no feeds.")
    elif sources.empty:
        st.info('No feeds. List their addresses in triptych.toml under [news] feeds = ["…"].')
    else:
        st.dataframe(sources, hide_index=True, width="stretch")


if __name__ == "__main__":
    main()
