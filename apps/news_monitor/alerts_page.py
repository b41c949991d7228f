"""Alerts with their evidence: the same figures, chart and stories as in the mail."""

import os

import altair as alt
import pandas as pd
import streamlit as st

from apps.news_monitor.evidence import Evidence
from apps.news_monitor.mail import (
    chance_sentence,
    first_sentence,
    health_sentence,
    moving_sentence,
    web_link,
)
from apps.news_monitor.page_data import AlertRow, alert_rows, databases, reading
from shared.errors import TriptychError
from shared.settings import default_home

BADGES = {
    "warning": ":orange-badge[warning]",
    "high": ":red-badge[high]",
    "critical": ":violet-badge[critical]",
}
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


def main() -> None:
    st.title("Alerts")
    try:
        choices = databases(default_home(os.environ), os.environ)
    except TriptychError as error:
        st.error(str(error))
        return
    rows: list[AlertRow] = []
    if choices:
        chosen = st.sidebar.selectbox("Show", list(choices))
        with reading(choices[chosen]) as connection:
            rows = alert_rows(connection) if connection is not None else []
    if not rows:
        st.info("No alert yet. `triptych news replay` shows what past headlines would have raised.")
        return
    st.dataframe(listing(rows), hide_index=True, width="stretch")
    names = {
        f"{r.evidence.opened_at:%Y-%m-%d %H:%M} {r.evidence.topic} (alert {r.id})": r for r in rows
    }
    show_alert(names[st.selectbox("Evidence of", list(names))])


if __name__ == "__main__":
    main()
