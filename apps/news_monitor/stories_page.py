"""The stories, what the model says of each, and what a reader says instead."""

from functools import partial

import pandas as pd
import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.alerts_page import act
from apps.news_monitor.corrections import correct, corrections, known_topics, take_back
from apps.news_monitor.database_choice_page import judging, show_over
from apps.news_monitor.labels import SENTIMENTS
from apps.news_monitor.page_data import LIVE, Detector
from apps.news_monitor.story_data import (
    Story,
    correctable,
    newest_stories,
    tellings,
    to_review,
    topic_stories,
    topics_said,
)
from apps.news_monitor.subject_page import OPENS, show_table, story_table

PAGE = "the stories page"
ALL = "All"
CORRECTIONS_SHOWN = 50


def show_stories(connection: Connection, detector: Detector) -> list[Story]:
    """The newest of all topics or of one; what was shown."""
    name = st.selectbox("Topic", [ALL, *detector.topics])
    if name == ALL:
        stories = newest_stories(connection, detector.model_id)
    else:
        stories = topic_stories(connection, detector.model_id, detector.topics[name])
    story_table(stories)
    return stories


def show_tellings(connection: Connection, shown: list[Story]) -> None:
    """All that is counted as one story: who told it, when, in the same words or in others."""
    wide = {story.id: story for story in shown if len(story.publishers) > 1 or story.tellings > 1}
    if not wide:
        return
    st.subheader("Told by several")
    number = st.selectbox("Story told", list(wide), format_func=lambda n: wide[n].title)
    show_table(pd.DataFrame(tellings(connection, number)), {"link": OPENS})


def ask_correction(
    connection: Connection, detector: Detector, shown: list[Story], database: str
) -> None:
    """One story at a time: of the queue first, then of those shown above."""
    st.subheader("Review")
    queue = to_review(connection, detector)
    choices = {story.id: story for story in [*queue, *shown]}
    if not choices:
        st.caption("No story to review.")
        return
    st.caption(
        f"{len(queue)} wait: stories of alerts that were marked not useful, then those of the last "
        "week of which the model is least sure. What you say teaches the next model "
        "(`triptych news corrections export`); what is counted stays as the model said it."
    )
    number = st.selectbox("Story", list(choices), format_func=lambda n: choices[n].title)
    story = choices[number]
    about = topics_said(connection, number, detector.model_id)
    st.text(f"{', '.join(story.publishers) or 'publisher unknown'}, {story.at:%Y-%m-%d %H:%M} UTC")
    st.text(
        f"The model: {story.said}, negative with {story.p_negative:.0%} probability; "
        f"about {', '.join(about) or 'no topic'}"
    )
    known = known_topics(connection)
    with st.form(f"correct{number}"):
        said = st.radio(
            "It is", SENTIMENTS, index=SENTIMENTS.index(story.sentiment), horizontal=True
        )
        topics = None
        if known:
            topics = st.multiselect("About", known, default=[t for t in about if t in known])
        if st.form_submit_button("Save"):
            act(
                database,
                partial(correct, item_id=number, sentiment=said, topics=topics, by=PAGE),
            )


def show_corrections(connection: Connection, database: str) -> None:
    found = corrections(connection, CORRECTIONS_SHOWN)
    if not found:
        return
    st.subheader("Corrected")
    for one in found:
        said, back = st.columns([5, 1], vertical_alignment="center")
        about = "" if one.topics is None else f"; about {', '.join(one.topics) or 'no topic'}"
        said.text(f"{one.text}\n{one.sentiment}{about}; by {one.by}, {one.at:%Y-%m-%d %H:%M} UTC")
        if back.button("Take back", key=f"back{one.item_id}"):
            act(database, partial(_take_back, one.item_id))


def _take_back(number: int, connection: Connection, at: object) -> None:  # noqa: ARG001
    take_back(connection, number)


def show(connection: Connection, chosen: str, url: str) -> None:
    detector = judging(connection)
    if detector is None:
        return
    shown = show_stories(connection, detector)
    show_tellings(connection, shown)
    # A replay's stories are shown and not corrected: it is made again at will.
    if chosen == LIVE and correctable(connection):
        ask_correction(connection, detector, shown, url)
        show_corrections(connection, url)


def main() -> None:
    show_over("Stories", show)


if __name__ == "__main__":
    main()
