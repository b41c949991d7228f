"""The companies followed: how negative their news is, what carries it, why there is no alert."""

import pandas as pd
import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.company_data import (
    CompanyLine,
    company_lines,
    company_stories,
    has_companies,
)
from apps.news_monitor.database_choice_page import show_over
from apps.news_monitor.mail import in_words
from apps.news_monitor.page_data import Detector, last_detector
from apps.news_monitor.subject_page import show_alerts, show_tile, show_trend, story_table
from apps.news_monitor.why_no_alert import why
from shared.errors import TriptychError

NO_LIST = (
    "No company is followed. Write them into a table `company,ticker,aliases` and name it in "
    'triptych.toml, `[news] companies = "companies.csv"`.'
)


def listing(lines: list[CompanyLine]) -> pd.DataFrame:
    """One row for each company."""
    return pd.DataFrame(
        [
            {
                "company": one.title,
                "state": one.state,
                "stories, 28 days": one.stories,
                "negative": one.negative,
                "share": one.share if one.stories else None,
                "usual share": one.tile.usual_share if one.tile else None,
                "score": round(one.tile.score, 1) if one.tile else None,
            }
            for one in lines
        ]
    )


def show_company(connection: Connection, detector: Detector, line: CompanyLine) -> None:
    if line.tile is None:
        st.caption("No story in any window at the last moment judged.")
    else:
        show_tile(line.tile)
    show_trend(connection, detector, line.title)
    show_alerts(connection, detector, line.title)
    try:
        answer = why(connection, line.title)
        st.text(f"At {in_words(answer.at)}: {answer.said}.")
    except TriptychError as error:
        st.text(str(error))
    st.markdown("**The newest stories that name it, and what they say of it**")
    story_table(company_stories(connection, detector, line.title), own=True)


def show(connection: Connection, _chosen: str, _url: str) -> None:
    found = has_companies(connection)
    detector = last_detector(connection, companies=True) if found else None
    if detector is None:
        st.info(NO_LIST)
        return
    lines = company_lines(connection, detector)
    st.caption(
        f"Judged up to {in_words(detector.until)} by model {detector.model}; "
        f"{len(lines)} companies."
    )
    st.dataframe(listing(lines), hide_index=True, width="stretch")
    by_title = {one.title: one for one in lines}
    title = st.selectbox("Company", list(by_title))
    show_company(connection, detector, by_title[title])


def main() -> None:
    show_over("Companies", show)


if __name__ == "__main__":
    main()
