"""A candidate in shadow: how far it is, and what it says otherwise than the released model."""

import os
from collections.abc import Sequence

import pandas as pd
import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.alert_difference import difference
from apps.news_monitor.company_data import has_companies
from apps.news_monitor.database_choice_page import judging, show_over
from apps.news_monitor.laboratory_page import CHANGES_ALERTS, judged
from apps.news_monitor.laboratory_page import show as show_alerts
from apps.news_monitor.page_data import LIVE
from apps.news_monitor.settings import SECTION, NewsSettings
from apps.news_monitor.shadow_difference import LabelDifference, TopicPair
from apps.news_monitor.shadow_view import ShadowView, difference_of, shadow_view, view_lines
from shared.errors import TriptychError
from shared.settings import load_section, settings_file

RANGE = st.column_config.ProgressColumn(min_value=0.0, max_value=1.0)


def show_labels(found: LabelDifference, released: str, candidate: str) -> None:
    share, low, high = found.agreement
    stories, same, ours, theirs = st.columns(4)
    stories.metric("Stories labelled by both", found.stories)
    same.metric(
        "The same sentiment", f"{share:.1%}", f"{low:.1%} to {high:.1%}", "off", delta_arrow="off"
    )
    ours.metric("Bad news by the released", found.released_negative)
    theirs.metric("Bad news by the candidate", found.candidate_negative)
    rows = [(*pair, number) for pair, number in found.sentiments.items()]
    pairs = pd.DataFrame(rows, columns=[released, candidate, "stories"])
    st.subheader("Sentiments")
    st.dataframe(
        pairs.pivot_table(index=released, columns=candidate, values="stories", fill_value=0)
        .astype(int)
        .rename_axis(index=f"{released} down, {candidate} across", columns=None)
    )
    show_subjects("Topics", "topic", found.topics, (released, candidate))
    show_subjects("Companies", "company", found.companies, (released, candidate))
    st.subheader("Where they differ most")
    st.dataframe(
        pd.DataFrame(
            [
                (one.title, one.released, one.candidate, one.released_p_negative,
                 one.candidate_p_negative)
                for one in found.examples
            ],
            columns=["story", released, candidate, f"negative, {released}",
                     f"negative, {candidate}"],
        ),
        hide_index=True,
        width="stretch",
        column_config={f"negative, {name}": RANGE for name in (released, candidate)},
    )  # fmt: skip


def show_subjects(
    title: str, kind: str, found: Sequence[TopicPair], names: tuple[str, str]
) -> None:
    """A row for each topic or company; nothing where there are none."""
    if not found:
        return
    released, candidate = names
    st.subheader(title)
    st.dataframe(
        pd.DataFrame(
            [
                {
                    kind: one.topic,
                    f"by {released}": one.released,
                    f"by {candidate}": one.candidate,
                    "by both": one.both,
                    f"bad news by {released}": one.released_negative / max(one.released, 1),
                    f"bad news by {candidate}": one.candidate_negative / max(one.candidate, 1),
                }
                for one in found
            ]
        ),
        hide_index=True,
        width="stretch",
        column_config={f"bad news by {name}": RANGE for name in names},
    )


def show_judged(view: ShadowView, settings: NewsSettings, url: str) -> None:
    """The alerts that each model would have told, on demand."""
    st.subheader("Alerts")
    if view.span is None or view.released is None or view.candidate is None:
        st.caption("Alerts can be compared once the candidate's past is long enough.")
        return
    since, until = view.span
    st.caption(
        f"{since:%Y-%m-%d} to {until:%Y-%m-%d}, each model by its own past. A is "
        f"{view.released.name}, B is {view.candidate.name}."
    )
    if not st.button("Judge the period under both"):
        return
    said = settings.model_dump_json(include=CHANGES_ALERTS)
    a, b = (
        judged(url, model.fingerprint, model, said, since, until, view.companies)
        for model in (view.released, view.candidate)
    )
    show_alerts(difference(a.alerts, b.alerts), (a, b))


def show(connection: Connection, chosen: str, url: str) -> None:
    if chosen != LIVE or not has_companies(connection):
        st.caption("The running monitor has a shadow; a replay has none.")
        return
    if judging(connection) is None:
        return
    try:
        file = settings_file(os.environ)
        settings = load_section(NewsSettings, SECTION, file=file, environ=os.environ)
        view = shadow_view(connection, settings)
        for line in view_lines(view):
            st.text(f"{line[:1].upper()}{line[1:]}.")
        found = difference_of(connection, view)
        if found is None or not found.stories or view.released is None or view.candidate is None:
            return
        show_labels(found, view.released.name, view.candidate.name)
        show_judged(view, settings, url)
    except TriptychError as error:
        st.error(str(error))


def main() -> None:
    show_over("A model in shadow", show)


if __name__ == "__main__":
    main()
