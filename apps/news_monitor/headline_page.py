"""A headline, the labels a model gives it, what each of its words did for them, and the training
headlines most like it."""

import os

import altair as alt
import pandas as pd
import streamlit as st

from apps.news_monitor.explaining import NONE_KEPT, Why, explain_headline
from apps.news_monitor.labelling import TOPICS_FOLDER, Labeller
from apps.news_monitor.labels import SENTIMENTS, UNSURE, Labels
from shared.errors import TriptychError
from shared.evaluation.highlight import marked_html
from shared.model_choice_page import chosen_model, page_registry
from shared.settings import default_home

EXAMPLE = "Airline shares slump after profit warning, though bookings rise"
COLOURS = ["#c62828", "#9aa3ad", "#2e7d5b"]  # of SENTIMENTS
TOPICS_SHOWN = 5
AROUND_BARS = 75  # pixels of title and axis


@st.cache_resource(show_spinner="Loading the model …")
def labeller_of(reference: str) -> Labeller:
    version = page_registry().resolve(reference, app="news")
    return Labeller.load(version.path, home=default_home(os.environ), name=reference)


@st.cache_data(show_spinner="Looking for the reason …", max_entries=200)
def read(reference: str, text: str) -> tuple[Labels, list[Why]]:
    labeller = labeller_of(reference)
    return labeller.label([text])[0], explain_headline(labeller, text)


def show_probabilities(labels: Labels) -> None:
    sentiment = pd.DataFrame(
        {
            "label": SENTIMENTS,
            "probability": [labels.p_negative, labels.p_neutral, labels.p_positive],
        }
    )
    topics = pd.DataFrame(
        sorted(labels.topic_scores.items(), key=lambda item: -item[1])[:TOPICS_SHOWN],
        columns=["label", "probability"],
    )
    left, right = st.columns(2)
    left.altair_chart(bars(sentiment, "Sentiment", COLOURS), width="stretch")
    if not topics.empty:
        right.altair_chart(bars(topics, "Topics", ["#2563a8"]), width="stretch")


def bars(rows: pd.DataFrame, title: str, colours: list[str]) -> alt.Chart:
    """One bar a row, in their order; a colour each, or one for all."""
    order = rows["label"].tolist()
    chart: alt.Chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X(
                "probability",
                title=None,
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=5),
            ),
            y=alt.Y(
                "label", sort=order, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False)
            ),
            color=alt.Color("label", scale=alt.Scale(domain=order, range=colours), legend=None),
            tooltip=["label", alt.Tooltip("probability", format=".1%")],
        )
        .properties(height=AROUND_BARS + 30 * len(order), title=alt.Title(title, anchor="start"))
    )
    return chart


def show_why(why: Why) -> None:
    """What each word did for the labels of one head, and the headlines it learned from that are
    most like this one."""
    for reason in why.explanations:
        st.caption(
            f"What spoke for `{reason.label}` (green) and against it (red); calibrated "
            f"probability {reason.probability:.0%}:"
        )
        st.html(marked_html(reason))
    if why.head == TOPICS_FOLDER and not why.explanations:
        st.caption("No topic is likely enough to be given.")
    if not why.precedents:
        return
    st.caption(
        f"The training headlines for the {why.head} that are most like it; personal data, dates "
        "and amounts are masked:"
    )
    st.dataframe(
        pd.DataFrame(
            [(p.text, p.in_words, p.similarity) for p in why.precedents],
            columns=["headline", why.head, "similarity"],
        ),
        hide_index=True,
        column_config={
            "headline": st.column_config.TextColumn(width="large"),
            "similarity": st.column_config.NumberColumn(format="%.2f"),
        },
    )


def main() -> None:
    st.title("A headline")
    model = chosen_model(
        "news",
        without="No news model has been trained yet. "
        "Run `triptych demo`, or `triptych train news`.",
    )
    if model is None:
        return
    reference = model.reference
    text = st.text_input("Headline", value=EXAMPLE, max_chars=500).strip()
    if not text:
        st.caption("Write a headline to see its labels.")
        return
    try:
        labels, reasons = read(reference, text)
    except TriptychError as error:
        st.error(str(error))
        return
    show_probabilities(labels)
    if labels.said == UNSURE:
        st.caption("Unsure: no sentiment is more likely than not.")
    st.subheader("Why")
    for why in reasons:
        show_why(why)
    if not all(why.precedents for why in reasons):
        st.caption(NONE_KEPT)


if __name__ == "__main__":
    main()
