"""The laboratory: a period under two configurations, and the alerts in which they differ."""

import os
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pandas as pd
import streamlit as st

from apps.news_monitor.alert_difference import Difference, Episode, difference
from apps.news_monitor.bucket_counts import at_hour
from apps.news_monitor.company_data import has_companies
from apps.news_monitor.database_choice_page import NOTHING_READ, chosen_database
from apps.news_monitor.laboratory import StoredModel, Tried, stored_models, try_out
from apps.news_monitor.page_data import reading
from apps.news_monitor.settings import SECTION, NewsSettings, SurgeSettings
from apps.news_monitor.subject_page import show_table
from shared.errors import TriptychError
from shared.settings import load_section, settings_file

BUDGETS = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0)
CADENCES = (1, 2, 3, 4, 6, 8, 12, 24)
CHANGES_ALERTS = {
    "false_alarms_per_week", "company_false_alarms_per_week", "surges", "topics", "fetch",
}  # fmt: skip
DAYS = 28


def configuration(
    side: str, models: Sequence[StoredModel], usual: NewsSettings, *, companies: bool
) -> tuple[StoredModel, NewsSettings]:
    """The widgets of one side, which begin with the settings in force."""
    st.subheader(side)
    names = {model.name: model for model in models}
    model = names[st.selectbox("Model", list(names), key=f"model {side}")]
    changed = {"false_alarms_per_week": budget("topics", usual.false_alarms_per_week, side)}
    if companies:
        own = usual.company_false_alarms_per_week
        changed["company_false_alarms_per_week"] = budget("companies", own, side)
    negative = st.number_input(
        "Negative stories at least", 1, 100, usual.surges.min_negative, key=f"negative {side}"
    )
    publishers = st.number_input(
        "Publishers at least", 1, 50, usual.surges.min_publishers, key=f"publishers {side}"
    )
    cadence = st.selectbox(
        "Judged every so many hours", CADENCES, index=CADENCES.index(6), key=f"cadence {side}"
    )
    changes: dict[str, Any] = {
        "min_negative": negative,
        "min_publishers": publishers,
        "cadence_hours": cadence,
    }
    surges = SurgeSettings.model_validate({**usual.surges.model_dump(), **changes})
    return model, usual.model_copy(update={**changed, "surges": surges})


def budget(kind: str, usual: float, side: str) -> float:
    chosen: float = st.select_slider(
        f"False mails a week, over all {kind}",
        sorted({*BUDGETS, usual}),
        value=usual,
        key=f"budget of {kind} {side}",
    )
    return chosen


def period(models: Sequence[StoredModel]) -> tuple[datetime, datetime]:
    first = at_hour(min(model.first_hour for model in models))
    last = at_hour(max(model.last_hour for model in models)) + timedelta(days=1)
    begin, end = st.columns(2)
    since = begin.date_input("From (UTC)", max(first, last - timedelta(days=DAYS)).date())
    until = end.date_input("To (UTC), the day after the last", last.date())
    st.caption(f"Stories are counted from {first:%Y-%m-%d}; what lies before is what is usual.")
    return midnight_of(since), midnight_of(until)


def midnight_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


@st.cache_data(show_spinner="Judging the period again …", max_entries=20, ttl=600)
def judged(
    url: str,
    chosen: str,
    _model: StoredModel,
    settings: str,
    since: datetime,
    until: datetime,
    companies: bool,
) -> Tried:
    """Kept by database, model, settings and period."""
    del chosen
    return try_out(
        url,
        NewsSettings.model_validate_json(settings),
        _model,
        since=since,
        until=until,
        companies=companies,
    )


def table(episodes: Sequence[Episode]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "opened": one.opened_at,
                "topic": one.topic,
                "severity": one.severity,
                "negative": f"{one.negative} of {one.stories}",
                "usual": round(one.expected, 1),
                "score": round(one.score, 1),
                "over": one.resolved_at,
                "first story": one.headlines[0] if one.headlines else "",
            }
            for one in episodes
        ]
    )


def show(found: Difference, tried: tuple[Tried, Tried]) -> None:
    both, only_a, only_b = st.columns(3)
    both.metric("In both", len(found.both))
    only_a.metric("Only in A", len(found.only_a))
    only_b.metric("Only in B", len(found.only_b))
    limits = [f"{side}: {one.line}" for side, one in zip("AB", tried, strict=True)]
    st.caption("; ".join(limits) + ".")
    parts = {
        "Only in A": found.only_a,
        "Only in B": found.only_b,
        "In both, as A told them": [pair[0] for pair in found.both],
    }
    for name, episodes in parts.items():
        st.markdown(f"**{name}**")
        if episodes:
            show_table(table(episodes))
        else:
            st.caption("none")


def main() -> None:
    st.title("The laboratory")
    chosen = chosen_database()
    if chosen is None:
        return
    with reading(chosen[1]) as connection:
        found = connection is not None and has_companies(connection)
        models = stored_models(connection) if connection is not None and found else []
    if not models:
        st.info(NOTHING_READ)
        return
    try:
        file = settings_file(os.environ)
        usual = load_section(NewsSettings, SECTION, file=file, environ=os.environ)
    except TriptychError as error:
        st.error(str(error))
        return
    since, until = period(models)
    named = any(model.companies is not None for model in models)
    companies = named and st.checkbox("Companies too", help="By the list the stories were read by.")
    sides = []
    for column, side in zip(st.columns(2), "AB", strict=True):
        with column:
            sides.append(configuration(side, models, usual, companies=companies))
    if not st.button("Replay under both"):
        return
    try:
        a, b = (
            judged(
                chosen[1],
                model.fingerprint,
                model,
                settings.model_dump_json(include=CHANGES_ALERTS),
                since,
                until,
                companies,
            )
            for model, settings in sides
        )
    except TriptychError as error:
        st.error(str(error))
        return
    show(difference(a.alerts, b.alerts), (a, b))


if __name__ == "__main__":
    main()
