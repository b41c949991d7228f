"""One topic or company as pages show it: where it stands, its trend, its alerts, its stories."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.mail import first_sentence, in_words, web_link
from apps.news_monitor.page_data import Detector, TopicTile, alerts_about, topic_trend, worth_of
from apps.news_monitor.story_data import Story
from apps.news_monitor.trends import corrected_share, with_corrected

BADGES = {
    "firing": ":red-badge[firing]",
    "pending": ":orange-badge[pending]",
    "cooling down": ":blue-badge[cooling down]",
    "quiet": ":green-badge[quiet]",
}
STEPS = {"By day, 90 days": (90, 24), "By hour, 7 days": (7, 1)}
"""What is chosen: days, hours of a bucket."""
RED, GREY, BAND, BLUE = "#c62828", "#c9ced6", "#9db8d9", "#1f5fa8"
PROBABILITY = st.column_config.ProgressColumn(min_value=0.0, max_value=1.0)
OPENS = st.column_config.LinkColumn(display_text="open")
MOMENT = st.column_config.DatetimeColumn(
    format="YYYY-MM-DD HH:mm", timezone="UTC", help="Time in UTC."
)


def show_table(frame: pd.DataFrame, columns: Mapping[str, Any] = {}) -> None:
    """Times as all pages show them; columns: how others are shown."""
    times = {
        str(name): MOMENT
        for name in frame.columns
        if isinstance(frame[name].dtype, pd.DatetimeTZDtype)
    }
    st.dataframe(frame, hide_index=True, width="stretch", column_config={**times, **columns})


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
        if tile.score > 0:
            said = f"score {tile.score:.1f}, alerts start at {tile.threshold:.1f}"
        else:
            said = f"no score: {tile.why}"
        band = f" ({tile.share:.0%}, 95 % range {tile.low:.0%} to {tile.high:.0%})"
        heard = "" if tile.coverage is None else f"; {tile.coverage:.0%} of its sources deliver"
        st.caption(
            f"negative stories, {span_of(tile.window_hours)}{band if tile.stories else ''}; "
            f"{said}{heard}"
        )


def span_of(hours: int) -> str:
    return f"last {hours} hours" if hours <= 24 else f"last {hours // 24} days"


def trend_chart(frame: pd.DataFrame, bucket_hours: int = 24) -> alt.LayerChart:
    """Negative share with its 95 % interval over the stories of each bucket; dashed the share
    corrected for the labeller's errors, where the frame has it."""
    base = alt.Chart(frame).encode(x=alt.X("start:T", title=None))
    hint = [
        alt.Tooltip("start:T", title="day" if bucket_hours == 24 else "from", format=STAMP),
        "stories",
        "negative",
        alt.Tooltip("share", format=".0%"),
    ]
    axis = alt.Axis(format="%")
    bars = base.mark_bar(color=GREY, opacity=0.5).encode(
        y=alt.Y("stories:Q", title="stories"), tooltip=hint
    )
    band = base.mark_area(color=BAND, opacity=0.35).encode(
        y=alt.Y("low:Q", title="negative share", axis=axis), y2="high:Q"
    )
    share = alt.Y("share:Q", title="negative share", axis=axis)
    lines = band + base.mark_line(color=RED, point=True).encode(y=share, tooltip=hint)
    if "corrected" in frame:
        corrected = alt.Y("corrected:Q", title="negative share", axis=axis)
        lines += base.mark_line(color=BLUE, strokeDash=[5, 4]).encode(y=corrected)
    chart: alt.LayerChart = alt.layer(bars, lines).resolve_scale(y="independent")
    return chart.properties(height=280)


STAMP = "%a %d %b %Y, %H:%M"


def show_trend(connection: Connection, detector: Detector, name: str) -> None:
    """By day or by hour, raw and corrected, with what each means."""
    step = st.radio("Trend", list(STEPS), horizontal=True, label_visibility="collapsed")
    days, hours = STEPS[step]
    frame = topic_trend(connection, detector, name, days, bucket_hours=hours)
    said = ["Red: the share of stories that the model calls negative, with its 95 % range."]
    worth = worth_of(connection, detector.model_id)
    if worth is not None:
        frame = with_corrected(frame, worth.recall, worth.false_rate)
        n, k = int(frame["stories"].sum()), int(frame["negative"].sum())
        raw = k / max(n, 1)
        true = corrected_share(raw, worth.recall, worth.false_rate)
        said.append(
            f"Dashed: corrected for its errors, for it finds {worth.recall:.0%} of what is "
            f"negative and calls {worth.false_rate:.0%} of the rest so. Over the whole time "
            f"{k} of {n} are negative, {raw:.1%}; corrected {true:.1%}."
        )
    st.altair_chart(trend_chart(frame, hours), width="stretch")
    st.caption(" ".join([*said, "What is tested is the raw share."]))


def show_alerts(connection: Connection, detector: Detector, name: str) -> None:
    """Each as one line, the newest first."""
    found = alerts_about(connection, detector, name)
    for row in found:
        st.markdown(f"Alert of {in_words(row.evidence.opened_at)}, {row.state}")
        st.text(first_sentence(row.evidence))
    if not found:
        st.caption("No alert so far.")


def story_table(stories: list[Story], *, own: bool = False) -> None:
    """A row for each. own: of a company, with whether the model was asked for it alone."""
    frame = pd.DataFrame(
        [
            {
                "at": story.at,
                "story": story.title,
                "publishers": len(story.publishers),
                "who": ", ".join(story.publishers),
                "sentiment": story.said,
                "negative": story.p_negative,
                **({"asked for it alone": story.own} if own else {}),
                "corrected": story.corrected,
                "link": web_link(story.url) or None,
            }
            for story in stories
        ]
    )
    show_table(
        frame,
        {
            "publishers": st.column_config.NumberColumn(
                help="Who carries it, in the same words or in others: that makes a story broader, "
                "and it is counted once."
            ),
            "negative": PROBABILITY,
            "asked for it alone": st.column_config.CheckboxColumn(
                help="The headline names several companies: the model read it with the others "
                "masked."
            ),
            "link": OPENS,
        },
    )
