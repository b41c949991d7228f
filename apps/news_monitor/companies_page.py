"""The companies followed: how negative their news is, what carries it, why there is no alert."""

import pandas as pd
import streamlit as st
from sqlalchemy import Connection

from apps.news_monitor.company_data import (
    CompanyLine,
    company_alerts,
    company_lines,
    company_stories,
    has_companies,
)
from apps.news_monitor.database_choice_page import NOTHING_READ, chosen_database
from apps.news_monitor.mail import first_sentence, in_words, web_link
from apps.news_monitor.overview_page import TREND_DAYS, show_tile, trend_chart
from apps.news_monitor.page_data import Detector, last_detector, reading, topic_trend
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


def show_stories(connection: Connection, detector: Detector, title: str) -> None:
    stories = company_stories(connection, detector, title)
    frame = pd.DataFrame(
        [
            {
                "at": story.at,
                "story": story.title,
                "publisher": story.publisher,
                "says of it": story.sentiment,
                "negative": story.p_negative,
                "asked for it alone": story.own,
                "link": web_link(story.url) or None,
            }
            for story in stories
        ]
    )
    st.markdown("**The newest stories that name it**")
    st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        column_config={
            "negative": st.column_config.ProgressColumn(min_value=0.0, max_value=1.0),
            "asked for it alone": st.column_config.CheckboxColumn(
                help="The headline names several companies: the model read it with the others "
                "masked."
            ),
            "link": st.column_config.LinkColumn(display_text="open"),
        },
    )


def show_company(connection: Connection, detector: Detector, line: CompanyLine) -> None:
    if line.tile is None:
        st.caption("No story in any window at the last moment judged.")
    else:
        show_tile(line.tile)
    trend = topic_trend(connection, detector, line.title, TREND_DAYS)
    st.altair_chart(trend_chart(trend), width="stretch")
    for row in company_alerts(connection, detector, line.title):
        opened = in_words(row.evidence.opened_at)
        st.markdown(f"Alert of {opened}, {row.state}")
        st.text(first_sentence(row.evidence))
    try:
        answer = why(connection, line.title)
        st.text(f"At {in_words(answer.at)}: {answer.said}.")
    except TriptychError as error:
        st.text(str(error))
    show_stories(connection, detector, line.title)


def main() -> None:
    st.title("Companies")
    chosen = chosen_database()
    if chosen is None:
        return
    with reading(chosen[1]) as connection:
        if connection is None:
            st.info(NOTHING_READ)
            return
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


if __name__ == "__main__":
    main()
