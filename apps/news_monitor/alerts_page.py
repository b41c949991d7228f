"""Alerts with their evidence: the same figures, chart and stories as in the mail."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import partial

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
from apps.news_monitor.page_data import (
    LIVE,
    AlertRow,
    alert_rows,
    databases,
    last_detector,
    reading,
)
from apps.news_monitor.responses import (
    LONGEST_SILENCE,
    Silence,
    acknowledge,
    answerable,
    end_silence,
    mark_alert,
    silence_topic,
    silences,
)
from apps.news_monitor.subject_page import OPENS, PROBABILITY, show_table
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
from shared.storage import create_engine

BADGES = {
    "warning": ":orange-badge[warning]",
    "high": ":red-badge[high]",
    "critical": ":violet-badge[critical]",
}
NO_ALERT = "No alert yet. `triptych news replay` shows what past headlines would have raised."
HELD_SHOWN = timedelta(days=7)
ATTENTION_SHOWN = timedelta(days=28)
PAGE = "the alerts page"
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
                "answer": "; ".join(row.answers.said),
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
    show_table(
        stories,
        {
            "because of": st.column_config.TextColumn(
                help="The words without which the model would be less sure that it is bad news; "
                "told for the first ten stories."
            ),
            "negative": PROBABILITY,
            "link": OPENS,
        },
    )
    if evidence.moving:
        st.text("Moving with it: " + moving_sentence(evidence))
    resolved = f"; over since {row.resolved_at:%Y-%m-%d %H:%M} UTC" if row.resolved_at else ""
    st.text(f"State: {row.state}{resolved}")
    for address, state in row.mails.items():
        st.text(f"Mail to {address}: {state}")
    for line in row.answers.said:
        st.text(line)
    st.caption(f"Data: {health_sentence(evidence)} Model: {evidence.model}")


def ask_answer(row: AlertRow, database: str) -> None:
    """What one can do about an alert: the same as by the links in its mail."""
    seen, hush, hours, good, bad = st.columns([2, 2, 1, 1, 2], vertical_alignment="bottom")
    span = hours.number_input("Hours", 1, LONGEST_SILENCE, 24, key=f"hours{row.id}")
    if seen.button("Acknowledge", key=f"ack{row.id}", disabled=bool(row.answers.acknowledged_by)):
        act(database, partial(acknowledge, alert_id=row.id, by=PAGE))
    if hush.button(f"Silence {row.evidence.topic}", key=f"hush{row.id}"):
        act(database, partial(silence_topic, alert_id=row.id, hours=int(span), by=PAGE))
    if good.button("Useful", key=f"good{row.id}"):
        act(database, partial(mark_alert, alert_id=row.id, useful=True, by=PAGE))
    if bad.button("Not useful", key=f"bad{row.id}"):
        act(database, partial(mark_alert, alert_id=row.id, useful=False, by=PAGE))


def act(database: str, what: Callable[..., object]) -> None:
    """Write an answer and show the page anew. what: takes a connection and `at`."""
    engine = create_engine(database)
    try:
        with engine.begin() as connection:
            what(connection, at=datetime.now(UTC))
    except TriptychError as error:
        st.error(str(error))
        return
    finally:
        engine.dispose()
    st.rerun()


def show_silences(found: list[Silence], database: str) -> None:
    """Topics of which nobody is told now, each with a way back."""
    for one in found:
        said, end = st.columns([4, 1], vertical_alignment="center")
        said.text(f"{one.topic} is silenced until {one.ends_at:%Y-%m-%d %H:%M} UTC by {one.by}.")
        if end.button("End", key=f"end{one.id}"):
            act(database, partial(end_silence, silence_id=one.id))


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
    show_table(frame)


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
    show_table(frame)


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
    show_table(windows)
    runs = pd.DataFrame(
        [
            {"from": run.first, "to": run.last, "outcome": run.said, "best score": run.score}
            for run in answer.runs
        ]
    )
    show_table(runs)


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
        live = chosen == LIVE and connection is not None and answerable(connection)
        if live and connection is not None:
            show_silences(silences(connection, datetime.now(UTC)), choices[chosen])
        if not rows:
            st.info(NO_ALERT)
        else:
            show_table(listing(rows))
            names = {
                f"{r.evidence.opened_at:%Y-%m-%d %H:%M} {r.evidence.topic} (alert {r.id})": r
                for r in rows
            }
            row = names[st.selectbox("Evidence of", list(names))]
            show_alert(row)
            if live:
                ask_answer(row, choices[chosen])
        if connection is not None:
            ask_why(connection)


if __name__ == "__main__":
    main()
