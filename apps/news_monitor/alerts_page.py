"""Alerts with their evidence: the same figures, chart and stories as in the mail."""

import os
from datetime import UTC, datetime, time, timedelta

import altair as alt
import pandas as pd
import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.attention import Attention, attention_since
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.mail import (
    chance_sentence,
    chance_words,
    first_sentence,
    health_sentence,
    moving_sentence,
    names_of,
    web_link,
)
from apps.news_monitor.page_data import AlertRow, alert_rows, databases, last_detector, reading
from apps.news_monitor.why_no_alert import (
    HeldBack,
    Why,
    coverage_sentence,
    has_decisions,
    held_back,
    judged_topics,
    why,
)
from shared.errors import TriptychError
from shared.settings import default_home

BADGES = {
    "warning": ":orange-badge[warning]",
    "high": ":red-badge[high]",
    "critical": ":violet-badge[critical]",
}
NO_ALERT = "No alert yet. `triptych news replay` shows what past headlines would have raised."
HELD_SHOWN = timedelta(days=7)
ATTENTION_SHOWN = timedelta(days=28)
RED, GREY, BAND = "#c62828", "#c9ced6", "#7fa3cf"


def listing(rows: list[AlertRow]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "opened": row.evidence.opened_at,
                "topic": row.evidence.topic,
                "severity": row.evidence.severity,
                "state": row.state,
                "negative": f"{row.evidence.negative} of {row.evidence.stories}",
                "usual": round(row.evidence.expected, 1),
                "score": round(row.evidence.score, 1),
                "mails": ", ".join(sorted(set(row.mails.values()))) or "nobody to write to",
            }
            for row in rows
        ]
    )


def evidence_chart(evidence: Evidence) -> alt.LayerChart | alt.FacetChart:
    """28 days: all stories, negative ones, and how many negatives each day would usually hold."""
    frame = pd.DataFrame(
        [
            {
                "day": d.end,
                "stories": d.stories,
                "negative": d.negative,
                "low": d.low,
                "high": d.high,
            }
            for d in evidence.days
        ]
    )
    base = alt.Chart(frame).encode(
        x=alt.X("yearmonthdate(day):T", title=None),
        tooltip=["day:T", "stories", "negative", alt.Tooltip("high", title="usual at most")],
    )
    stories = base.mark_bar(color=GREY).encode(y=alt.Y("stories:Q", title="stories a day"))
    usual = base.mark_bar(color=BAND, opacity=0.6).encode(y="low:Q", y2="high:Q")
    negative = base.mark_bar(color=RED, size=8).encode(y="negative:Q")
    return alt.layer(stories, usual, negative).properties(height=240)


def show_alert(row: AlertRow) -> None:
    evidence = row.evidence
    st.markdown(BADGES[evidence.severity])
    st.subheader(first_sentence(evidence))
    st.caption(chance_sentence(evidence))
    st.altair_chart(evidence_chart(evidence), width="stretch")
    st.markdown("**The stories that carry it**")
    stories = pd.DataFrame(
        [
            {
                "story": line.title,
                "publishers": ", ".join(line.publishers),
                "because of": ", ".join(line.words),
                "negative": line.p_negative,
                "at": line.at,
                "link": web_link(line.url) or None,
            }
            for line in evidence.headlines
        ]
    )
    st.dataframe(
        stories,
        hide_index=True,
        width="stretch",
        column_config={
            "because of": st.column_config.TextColumn(
                help="The words without which the model would be less sure that it is bad news; "
                "told for the first ten stories."
            ),
            "negative": st.column_config.ProgressColumn(min_value=0.0, max_value=1.0),
            "link": st.column_config.LinkColumn(display_text="open"),
        },
    )
    if evidence.moving:
        st.text("Moving with it: " + moving_sentence(evidence))
    resolved = f"; over since {row.resolved_at:%Y-%m-%d %H:%M} UTC" if row.resolved_at else ""
    st.text(f"State: {row.state}{resolved}")
    for address, state in row.mails.items():
        st.text(f"Mail to {address}: {state}")
    st.caption(f"Data: {health_sentence(evidence)} Model: {evidence.model}")


def show_held(held: list[HeldBack]) -> None:
    """What would have been an alert if its sources had delivered."""
    if not held:
        return
    st.warning("Alerts were held back in the last seven days: too few sources delivered.")
    frame = pd.DataFrame(
        [
            {
                "topic": one.topic,
                "from": one.first,
                "to": one.last,
                "sources delivering": f"{one.coverage:.0%}",
                "silent": names_of(one.missing),
                "best score": round(one.score, 1),
            }
            for one in held
        ]
    )
    st.dataframe(frame, hide_index=True, width="stretch")


def show_attention(found: list[Attention]) -> None:
    """More news than usual, no worse than usual: nobody is mailed about it."""
    if not found:
        return
    st.subheader("More news than usual, no worse")
    frame = pd.DataFrame(
        [
            {
                "from": one.opened_at,
                "to": one.resolved_at,
                "topic": one.topic,
                "stories": f"{one.stories} in {one.window_hours} hours",
                "usual": round(one.usual_stories, 1),
                "negative": f"{one.share:.0%}",
                "usually negative": f"{one.usual_share:.0%}",
            }
            for one in found
        ]
    )
    st.dataframe(frame, hide_index=True, width="stretch")


def show_why(answer: Why) -> None:
    """The decision, its windows, and the day up to it."""
    st.markdown(f"**{answer.at:%Y-%m-%d %H:%M} UTC**")
    st.text(f"{answer.topic}: {answer.said}.")
    if answer.note:
        st.caption(answer.note)
    st.caption(
        f"Best score {answer.score:.1f}, alerts start at {answer.threshold:.1f}. "
        f"{coverage_sentence(answer.coverage, answer.missing)}"
    )
    windows = pd.DataFrame(
        [
            {
                "window": f"{line.window_hours} hours",
                "negative": f"{line.negative} of {line.stories}",
                "share": f"{line.share:.0%}",
                "usual": f"{line.usual_share:.0%}",
                "chance": chance_words(line.p_share),
                "score": round(line.score, 1),
                "stopped by": line.gate,
                "wanting": line.wanting,
            }
            for line in answer.windows
        ]
    )
    st.dataframe(windows, hide_index=True, width="stretch")
    runs = pd.DataFrame(
        [
            {"from": run.first, "to": run.last, "outcome": run.said, "best score": run.score}
            for run in answer.runs
        ]
    )
    st.dataframe(runs, hide_index=True, width="stretch")


def ask_why(connection: Connection) -> None:
    """Pick a topic and a moment; the answer is read from the tables."""
    detector = last_detector(connection)
    if detector is None or not has_decisions(connection):
        return
    show_held(held_back(connection, detector.until - HELD_SHOWN))
    show_attention(attention_since(connection, detector.until - ATTENTION_SHOWN))
    st.subheader("Why no alert?")
    names = judged_topics(connection)
    topic, day, hour = st.columns(3)
    name = topic.selectbox("Topic", names)
    date = day.date_input("Day (UTC)", detector.until.date())
    clock = hour.selectbox("Hour (UTC)", range(24), index=detector.until.hour)
    at = datetime.combine(date, time(clock), UTC)
    try:
        show_why(why(connection, name, at))
    except TriptychError as error:
        st.info(str(error))


def main() -> None:
    st.title("Alerts")
    try:
        choices = databases(default_home(os.environ), os.environ)
    except TriptychError as error:
        st.error(str(error))
        return
    if not choices:
        st.info(NO_ALERT)
        return
    chosen = st.sidebar.selectbox("Show", list(choices))
    with reading(choices[chosen]) as connection:
        rows = alert_rows(connection) if connection is not None else []
        if not rows:
            st.info(NO_ALERT)
        else:
            st.dataframe(listing(rows), hide_index=True, width="stretch")
            names = {
                f"{r.evidence.opened_at:%Y-%m-%d %H:%M} {r.evidence.topic} (alert {r.id})": r
                for r in rows
            }
            show_alert(names[st.selectbox("Evidence of", list(names))])
        if connection is not None:
            ask_why(connection)


if __name__ == "__main__":
    main()
