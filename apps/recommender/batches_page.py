"""Batch runs: how the lists of a shop's users develop from run to run. Never imports torch."""

import os

import altair as alt
import pandas as pd
import streamlit as st

from apps.recommender.batch_runs import BatchReport, batch_names, read_batches
from shared.settings import default_home

SCOPES = {"all": "all users", "changed": "those who changed", "file": "users of a file"}
LINES = {
    "coverage": "share of the catalogue that is listed",
    "kept": "share of the places kept since the run before",
    "new": "share of the places for items nobody had",
}


def overview(reports: list[BatchReport]) -> pd.DataFrame:
    """One row for each run."""
    return pd.DataFrame(
        {
            "begun": report.at,
            "model": report.model,
            "users": SCOPES[report.scope],
            "asked for": report.users,
            "listed anew": report.made,
            "without a list": report.without,
            "coverage": report.figures.coverage,
            "variety": report.figures.diversity,
            "novelty": report.figures.novelty,
            "kept": None if report.drift is None else report.drift.kept,
            "seconds": report.seconds,
            "run": report.run,
        }
        for report in reports
    )


def show_development(reports: list[BatchReport]) -> None:
    """Lines over the runs that list all users."""
    whole = [report for report in reports if report.scope != "file"]
    if len(whole) < 2:
        st.caption("With a second run over all users the development is drawn here.")
        return
    rows = [
        (report.at, said, value)
        for report in whole
        for said, value in (
            (LINES["coverage"], report.figures.coverage),
            (LINES["kept"], None if report.drift is None else report.drift.kept),
            (LINES["new"], report.figures.new),
        )
        if value is not None
    ]
    points = pd.DataFrame(rows, columns=["run", "what", "value"])
    chart = (
        alt.Chart(points)
        .mark_line(point=True)
        .encode(
            x=alt.X("run:T", title=None),
            y=alt.Y("value:Q", title=None, axis=alt.Axis(format="%")),
            color=alt.Color(
                "what:N", legend=alt.Legend(title=None, orient="bottom", labelLimit=0, columns=1)
            ),
            tooltip=["run:T", "what:N", alt.Tooltip("value:Q", format=".1%")],
        )
        .properties(height=280)
    )
    st.altair_chart(chart, width="stretch")


def show_run(report: BatchReport) -> None:
    """One run: figures, what moved, who got nothing."""
    figures = report.figures
    cards = (
        ("Users", f"{report.users:,}"),
        ("Catalogue listed", f"{figures.coverage:.1%}"),
        ("Variety", "–" if figures.diversity is None else f"{figures.diversity:.2f}"),
        ("Novelty", f"{figures.novelty:.1f} bits"),
        ("Without a list", f"{report.without:,}"),
        ("Seconds", f"{report.seconds:.1f}"),
    )
    for place, (label, value) in zip(st.columns(len(cards)), cards, strict=True):
        place.metric(label, value)
    if report.drift is None:
        st.caption("There was no earlier run over all users to compare with.")
    else:
        st.write(f"{report.drift.line[:1].upper()}{report.drift.line[1:]}.")
    if report.cost:
        st.write(f"{report.cost[:1].upper()}{report.cost[1:]}.")
    if report.without:
        st.warning(
            f"{report.without:,} users got no recommendation, the first: "
            f"{', '.join(report.without_first)}"
        )
    resumed = f", {report.resumed:,} users taken over from a killed run" if report.resumed else ""
    st.caption(
        f"{report.rows:,} rows, {report.k} for each user at most; Gini coefficient of how often "
        f"items are listed {figures.gini:.2f} (0: all equally often){resumed}. Written to "
        f"{report.output}"
    )
    for note in report.notes:
        st.caption(f"Fits nothing: {note}.")


def main() -> None:
    st.title("Batch runs")
    home = default_home(os.environ)
    names = batch_names(home)
    if not names:
        st.info(
            "No batch has run yet. `triptych recommend --model shop --output tonight.parquet` "
            "runs one."
        )
        return
    name = st.sidebar.selectbox("Model", names)
    reports = read_batches(home, name)
    percent = st.column_config.NumberColumn(format="percent")
    st.dataframe(
        overview(reports),
        hide_index=True,
        column_config={
            "begun": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
            "coverage": percent,
            "kept": percent,
            **{n: st.column_config.NumberColumn(format="%.2f") for n in ("variety", "novelty")},
            "seconds": st.column_config.NumberColumn(format="%.1f"),
        },
    )
    show_development(reports)
    known = {f"{report.at:%Y-%m-%d %H:%M:%S}, {SCOPES[report.scope]}": report for report in reports}
    chosen = st.selectbox("A run", list(known))
    if chosen is not None:
        show_run(known[chosen])


if __name__ == "__main__":
    main()
