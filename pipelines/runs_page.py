"""Training runs beside each other: state, curves, duration against forecast, confusions.

Reads journals and reports only; never imports torch.
"""

import os

import altair as alt
import pandas as pd
import streamlit as st

from pipelines.run_tables import (
    comparison,
    confusions_of,
    label_of,
    loss_points,
    metric_points,
    metrics_of,
    overview,
)
from shared.run_journal import RunRecord, State, read_runs
from shared.settings import default_home

REFRESH_SECONDS = 5
MOST_AT_ONCE = 6
LEGEND_LINE = 24  # pixels
STATES = {
    State.RUNNING: ":blue-badge[running]",
    State.FINISHED: ":green-badge[finished]",
    State.STOPPED: ":orange-badge[stopped]",
    State.BROKEN: ":red-badge[broken]",
}
COLOURS = ["#2563a8", "#c2571a", "#2e7d5b", "#8a4b9c", "#b08900", "#5a6472"]


def curve(points: pd.DataFrame, title: str, across: str, runs: list[str]) -> alt.Chart:
    """One line a run; across: "step" or "minutes". Colours belong to runs, in their order."""
    base = alt.Chart(points).encode(
        x=alt.X(f"{across}:Q", title="steps" if across == "step" else "minutes"),
        y=alt.Y("value:Q", title=None, scale=alt.Scale(zero=False)),
        color=alt.Color(
            "run:N",
            scale=alt.Scale(domain=runs, range=COLOURS[: len(runs)]),
            legend=alt.Legend(
                title=None, orient="bottom", columns=2, symbolType="stroke", labelLimit=0
            ),
        ),
        tooltip=[
            alt.Tooltip("run:N"),
            alt.Tooltip("step:Q"),
            alt.Tooltip("minutes:Q", format=".1f"),
            alt.Tooltip("value:Q", title=title, format=".4f"),
        ],
    )
    points_shown = len(points) <= 40 * max(1, len(runs))
    chart: alt.Chart = base.mark_line(point=points_shown, strokeWidth=2).properties(
        height=360 + LEGEND_LINE * (len(runs) // 2),
        title=alt.Title(title, anchor="start", fontSize=14),
    )
    return chart


def show_curves(runs: list[RunRecord]) -> None:
    names = [label_of(run) for run in runs]
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        metrics = metrics_of(runs)
        metric = st.selectbox("Measure", metrics) if metrics else None
    with right:
        chosen = st.segmented_control("Across", ["steps", "minutes"], default="steps")
    across = "minutes" if chosen == "minutes" else "step"
    losses = loss_points(runs)
    if losses.empty:
        st.caption("No curve: these runs did not fine-tune, or have not begun to.")
        return
    for place, points, title in zip(
        st.columns(2),
        (losses, metric_points(runs, metric) if metric else losses.iloc[:0]),
        ("training loss", f"{metric} on validation"),
        strict=True,
    ):
        with place:
            if points.empty:
                st.caption("Nothing has been measured yet.")
            else:
                st.altair_chart(curve(points, title, across, names), width="stretch")


def show_state(run: RunRecord) -> None:
    with st.container(border=True):
        st.markdown(f"{STATES[run.state]} **{label_of(run)}**")
        said, took = run.forecast_minutes, run.minutes
        if took is None:
            whole = "" if run.seconds is None else f"{run.seconds:.0f} s"
            st.metric("Whole run, without fine-tuning", whole or "not yet known")
        elif said is None:
            st.metric(
                "Fine-tuning",
                f"{took:.1f} min",
                "no forecast",
                delta_color="off",
                delta_arrow="off",
            )
        elif "seconds" in run.fine_tuning:
            delta = f"{said:.1f} said, {took / said - 1:+.0%}"
            st.metric("Fine-tuning", f"{took:.1f} min", delta, delta_color="off", delta_arrow="off")
        else:
            share = f"of {said:.1f} said"
            st.metric("Fine-tuning", f"{took:.1f} min", share, delta_color="off", delta_arrow="off")
            st.progress(min(1.0, took / said))
        if run.reason:
            again = "the same command goes on" if run.state is not State.FINISHED else ""
            st.caption(f"{run.reason}; {again}" if again else run.reason)


def show_confusions(runs: list[RunRecord]) -> None:
    st.subheader("What is taken for what")
    for run, tab in zip(runs, st.tabs([label_of(run) for run in runs]), strict=True):
        with tab:
            table = confusions_of(run)
            if table is None:
                st.caption("No report: the run has not come to its end.")
            elif table.empty:
                st.caption("Nothing was confused, or the report counts no labels.")
            else:
                st.dataframe(
                    table,
                    hide_index=True,
                    width="stretch",
                    column_config={
                        "times": st.column_config.NumberColumn(width="small"),
                        "such as": st.column_config.TextColumn(width="large"),
                    },
                )


def show_runs() -> None:
    runs = read_runs(default_home(os.environ).runs)
    if not runs:
        st.info("No run yet. `triptych train --help` starts one; `triptych demo` three.")
        return
    st.dataframe(overview(runs), hide_index=True, width="stretch")
    known = {run.key: run for run in runs}
    tuned = [run.key for run in runs if run.losses]
    keys = st.multiselect(
        "Side by side",
        list(known),
        default=(tuned or list(known))[:2],
        format_func=lambda key: label_of(known[key]),
        max_selections=MOST_AT_ONCE,
    )
    chosen = [known[key] for key in keys]
    if not chosen:
        st.caption("Choose one run or more.")
        return
    for run, place in zip(chosen, st.columns(max(2, len(chosen))), strict=False):
        with place:
            show_state(run)
    show_curves(chosen)
    st.subheader("Side by side")
    differing = len(chosen) > 1 and st.toggle("Only what differs", value=True)
    st.dataframe(comparison(chosen, differing_only=differing), width="stretch")
    show_confusions(chosen)


def main() -> None:
    st.title("Runs")
    running = any(run.state is State.RUNNING for run in read_runs(default_home(os.environ).runs))
    st.fragment(show_runs, run_every=REFRESH_SECONDS if running else None)()


if __name__ == "__main__":
    main()
