"""How the bot fares with customers, by day or week; every share with its interval.

Reads the database only; never imports torch.
"""

import os
from datetime import UTC, datetime

import altair as alt
import pandas as pd
import streamlit as st

from apps.chatbot.analytics import Analytics, Step, analytics
from apps.chatbot.figure_tables import (
    OTHERS,
    cluster_points,
    cluster_table,
    period_table,
    reason_table,
    session_points,
    share_points,
    unanswered_table,
    use_table,
)
from apps.chatbot.opening import reading
from apps.chatbot.unanswered import Clusters
from shared.errors import TriptychError
from shared.settings import default_home

PERIODS = {"7 days": 7, "30 days": 30, "90 days": 90, "a year": 366}
ENDS = {"contained": "#2e7d5b", "handed over": "#2563a8", "left": "#c98a00"}
SHARES = ("contained sessions", "handover rate", "clarify success", "thumbs up")
SHARE_COLOURS = ("#2e7d5b", "#2563a8", "#c98a00", "#8a4b9c")
NOTES = {
    "contained sessions": "No person was asked into it, and it ended with an answer.",
    "handover rate": "Sessions in which a person was asked into it.",
    "left without an answer": "Ended on a refusal, or on an open question of the bot's.",
    "clarify success": "Questions back after which the bot answered within an hour.",
    "unanswered questions": "Messages that the bot refused, of all that it decided.",
    "thumbs up": "Of all thumbs.",
}
KEPT_SECONDS = 60
SHOWN_CLUSTERS = 6  # of the chart; the table has more
CLUSTER_COLOURS = ("#2563a8", "#c98a00", "#2e7d5b", "#8a4b9c", "#b3362b", "#3a9fb5")
GREY = "#b8bfc9"


@st.cache_data(show_spinner="Counting …", ttl=KEPT_SECONDS)
def figures_of(home: str, days: int, step: Step) -> Analytics:
    del home  # another home has another database
    with reading(default_home(os.environ)) as connection:
        return analytics(connection, days=days, now=datetime.now(UTC), step=step)


def show_totals(found: Analytics) -> None:
    places = (*st.columns(3), *st.columns(3))
    for place, measure in zip(places, found.total.measures, strict=True):
        with place:
            value = "—" if measure.value is None else f"{measure.value:.0%}"
            st.metric(measure.name.capitalize(), value, help=NOTES[measure.name])
            if measure.low is not None and measure.high is not None:
                st.caption(f"{measure.low:.0%} to {measure.high:.0%} of {measure.n:,}")
    st.caption(
        "With 95 % intervals. A session is what a customer writes without a pause of an hour; days "
        "are UTC."
    )


def sessions_chart(points: pd.DataFrame, step: Step) -> alt.Chart:
    """How sessions ended, stacked."""
    chart: alt.Chart = (
        alt.Chart(points)
        .mark_bar()
        .encode(
            x=alt.X("yearmonthdate(start):T", title=None),
            y=alt.Y("sessions:Q", title="sessions"),
            color=alt.Color(
                "how:N",
                scale=alt.Scale(domain=list(ENDS), range=list(ENDS.values())),
                legend=alt.Legend(title=None, orient="bottom"),
            ),
            tooltip=[alt.Tooltip("start:T", title=step), "how:N", "sessions:Q"],
        )
        .properties(height=260)
    )
    return chart


def shares_chart(points: pd.DataFrame, name: str, colour: str) -> alt.LayerChart | alt.FacetChart:
    """One share over time in its 95 % band."""
    base = alt.Chart(points[points["what"] == name]).encode(x=alt.X("start:T", title=None))
    axis = alt.Axis(format="%")
    band = base.mark_area(color=colour, opacity=0.15).encode(
        y=alt.Y("low:Q", title=None, axis=axis, scale=alt.Scale(domain=[0, 1])), y2="high:Q"
    )
    line = base.mark_line(color=colour, point=alt.OverlayMarkDef(color=colour)).encode(
        y=alt.Y("share:Q", title=None, axis=axis),
        tooltip=[
            alt.Tooltip("start:T"), alt.Tooltip("share:Q", format=".1%"),
            alt.Tooltip("low:Q", format=".1%"), alt.Tooltip("high:Q", format=".1%"), "n:Q",
        ],
    )  # fmt: skip
    title = alt.Title(name, anchor="start", fontSize=14)
    return alt.layer(band, line).properties(height=180, title=title)


def show_course(found: Analytics) -> None:
    st.altair_chart(sessions_chart(session_points(found.periods), found.step), width="stretch")
    points = share_points(found.periods, SHARES)
    for pair in (SHARES[:2], SHARES[2:]):
        for place, name in zip(st.columns(2), pair, strict=True):
            with place:
                if (points["what"] == name).any():
                    colour = SHARE_COLOURS[SHARES.index(name)]
                    st.altair_chart(shares_chart(points, name, colour), width="stretch")
                else:
                    st.caption(f"{name.capitalize()}: nothing was counted.")
    table = period_table(found.periods)
    st.download_button(
        "Download as CSV",
        table.to_csv(index=False),
        file_name=f"chatbot-{found.step}s-{found.since:%Y-%m-%d}.csv",
        mime="text/csv",
    )
    with st.expander("The table"):
        st.dataframe(table, hide_index=True)


def show_intents(found: Analytics) -> None:
    st.subheader("By intent")
    table = use_table(found.intents)
    if table.empty:
        st.caption("No intent was answered.")
        return
    percent = st.column_config.ProgressColumn(min_value=0, max_value=1, format="percent")
    st.dataframe(table, hide_index=True, column_config={"contained": percent})
    st.download_button(
        "Download intents as CSV", table.to_csv(index=False), file_name="chatbot-intents.csv",
        mime="text/csv",
    )  # fmt: skip


def show_unanswered(found: Analytics) -> None:
    st.subheader("What it could not answer")
    why, asked = st.columns([1, 2])
    with why:
        if found.handovers:
            st.dataframe(reason_table(found.handovers), hide_index=True)
        else:
            st.caption("Nothing was handed over.")
    with asked:
        if found.unanswered:
            st.dataframe(
                unanswered_table(found.unanswered),
                hide_index=True,
                column_config={
                    "at": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", width="small"),
                    "question": st.column_config.TextColumn(width="large"),
                    "probability": st.column_config.NumberColumn(format="percent"),
                },
            )
        else:
            st.caption("No question was refused.")


def clusters_chart(points: pd.DataFrame) -> alt.Chart:
    """How often what was asked could not be answered, week by week, stacked."""
    names = list(dict.fromkeys(points["asks"]))
    colours = [*CLUSTER_COLOURS[: len(names) - (OTHERS in names)], *([GREY] * (OTHERS in names))]
    chart: alt.Chart = (
        alt.Chart(points)
        .mark_bar()
        .encode(
            x=alt.X("week:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("questions:Q", title="questions"),
            color=alt.Color(
                "asks:N", sort=names, scale=alt.Scale(domain=names, range=colours),
                legend=alt.Legend(title=None, orient="bottom", columns=2, labelLimit=400),
            ),
            tooltip=[alt.Tooltip("week:O", title="week of"), "asks:N", "questions:Q"],
        )
        .properties(height=260)
    )  # fmt: skip
    return chart


def show_clusters(found: Clusters) -> None:
    st.subheader("What it could not answer, by what was asked")
    if found.read_until is None:
        st.caption(
            "No round of learning has read the conversations yet: `triptych chatbot review "
            "collect`, every night, puts together what asks the same."
        )
        return
    read = f"As the last round of learning found it, {found.read_until:%d %b %Y, %H:%M} UTC."
    if not found.clusters:
        st.caption(f"{read} Nothing of this period was left unanswered.")
        return
    st.altair_chart(clusters_chart(cluster_points(found, SHOWN_CLUSTERS)), width="stretch")
    most = max(max(each.weeks) for each in found.clusters)
    st.dataframe(
        cluster_table(found), hide_index=True,
        column_config={
            "asks": st.column_config.TextColumn(width="medium"),
            "week by week": st.column_config.BarChartColumn(y_min=0, y_max=most),
            "of the handovers": st.column_config.NumberColumn(format="percent"),
            "for example": st.column_config.TextColumn(width="large"),
        },
    )  # fmt: skip
    more = f" {found.left_out:,} rarer ones are not shown." if found.left_out else ""
    st.caption(
        f"{read} Weeks begin on Monday. Shares are of the {found.handovers:,} chats of the period "
        f"that were handed over and have ended. What waits is decided on the page Review.{more}"
    )


def main() -> None:
    st.title("Analytics")
    left, right = st.columns(2)
    with left:
        chosen = st.segmented_control("Period", list(PERIODS), default="30 days")
        days = PERIODS[chosen or "30 days"]
    with right:
        by = st.segmented_control("By", ["day", "week"], default="day")
        step: Step = "week" if by == "week" else "day"
    try:
        found = figures_of(str(default_home(os.environ).root), days, step)
    except TriptychError as error:
        st.error(str(error))
        return
    if found.total == type(found.total)():
        st.info("No customer has written in this period. `triptych serve` lets them.")
        return
    show_totals(found)
    show_course(found)
    show_intents(found)
    show_unanswered(found)
    show_clusters(found.clusters)


if __name__ == "__main__":
    main()
