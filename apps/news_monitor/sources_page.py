"""The feeds: who delivers, who has fallen silent or fails, and what that means for each topic."""

import os
from datetime import UTC, datetime

import pandas as pd
import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.database_choice_page import show_over
from apps.news_monitor.mail import in_words, names_of
from apps.news_monitor.page_data import LIVE, Detector, coverage_now, last_detector
from apps.news_monitor.source_data import (
    answers_of_feeds,
    last_answers,
    overdue_as_set,
    publisher_frame,
    source_frame,
)
from apps.news_monitor.subject_page import PROBABILITY, show_table

NO_FEEDS = (
    'No feeds. List their addresses in triptych.toml under [news] feeds = ["…"], or take over '
    "another reader's list: `triptych news feeds import FILE.opml`."
)
PART = st.column_config.NumberColumn(format="percent")


def show_feeds(connection: Connection, feeds: pd.DataFrame) -> None:
    failing = int((feeds["failures in a row"] > 0).sum())
    never = int(feeds["last answer"].isna().sum())
    silent = int(feeds["silent"].sum())
    columns = st.columns(4)
    for column, (name, number) in zip(
        columns,
        (("Feeds", len(feeds)), ("Failing", failing), ("Silent", silent), ("Never heard", never)),
        strict=True,
    ):
        column.metric(name, number)
    answers = answers_of_feeds(connection, datetime.now(UTC))
    show_table(
        feeds.merge(answers, on="address", how="left"),
        {
            "failed": PART,
            "unchanged": PART,
            "silent": st.column_config.CheckboxColumn(
                help="It brings so little that its own past makes that a chance of less than one "
                "in a thousand, or has not answered for hours."
            ),
        },
    )


def show_coverage(connection: Connection, detector: Detector) -> None:
    """Of each topic's usual items, the part whose sources deliver."""
    st.subheader("Coverage")
    found = coverage_now(connection, detector)
    if not found:
        st.caption("What the sources usually deliver is not known yet: that takes some weeks.")
        return
    st.caption(
        f"At {in_words(detector.until)}. A topic of which too little is heard is not judged: "
        "`[news.surges] min_coverage`."
    )
    rows = sorted(found.items(), key=lambda pair: (pair[1].share, pair[0]))
    frame = pd.DataFrame(
        [
            {"topic": name, "coverage": heard.share, "missing": names_of(heard.missing)}
            for name, heard in rows
        ]
    )
    show_table(frame, {"coverage": PROBABILITY})


def show(connection: Connection, chosen: str, _url: str) -> None:
    detector = last_detector(connection)
    feeds = source_frame(connection, overdue_as_set(os.environ))
    if chosen != LIVE:
        st.caption("A replay reads a file, no feeds; its sources are the publishers.")
        show_table(publisher_frame(connection))
    elif feeds.empty:
        st.info(NO_FEEDS)
    else:
        show_feeds(connection, feeds)
    if detector is not None:
        show_coverage(connection, detector)
    if not feeds.empty:
        st.subheader("One feed")
        names = dict(zip(feeds["address"], feeds["feed"], strict=True))
        url = st.selectbox("Feed", list(names), format_func=lambda one: f"{names[one]}, {one}")
        show_table(last_answers(connection, url))


def main() -> None:
    show_over("Sources", show)


if __name__ == "__main__":
    main()
