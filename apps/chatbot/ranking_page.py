"""The likeliest intents of a message as bars: the chat and the inbox show them alike."""

from collections.abc import Sequence

import altair as alt
import pandas as pd
import streamlit as st


def show_ranking(ranking: Sequence[tuple[str, float]]) -> None:
    """ranking: (intent, probability), the most probable first."""
    frame = pd.DataFrame(list(ranking), columns=["intent", "probability"])
    bars = (
        alt.Chart(frame)
        .mark_bar()
        .encode(
            x=alt.X("probability", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%")),
            y=alt.Y("intent", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
            tooltip=["intent", alt.Tooltip("probability", format=".1%")],
        )
        .properties(height=190)
    )
    st.altair_chart(bars, width="stretch")
