"""At most so many wrong answers: what it costs, and what customers say. Chooses the bot's risk.

Reads a model's held-out rankings and the database; never imports torch.
"""

import os
import re
from datetime import UTC, datetime

import altair as alt
import pandas as pd
import streamlit as st

from apps.chatbot.agent_page import ask_agent
from apps.chatbot.figure_tables import OUTCOMES, curve_points, curve_table, in_words
from apps.chatbot.live import LiveFile
from apps.chatbot.opening import reading
from apps.chatbot.risk import RiskPoint, RiskView, risk_view
from apps.chatbot.told_page import show_told
from shared.errors import TriptychError
from shared.evaluation.report import Measure
from shared.model_choice_page import chosen_model
from shared.registry import ModelVersion
from shared.settings import default_home

COLOURS = ["#2e7d5b", "#c98a00", "#9aa3ad", "#2563a8", "#c62828"]
LEAST_PERCENT, MOST_PERCENT = 0.5, 30.0
SHOWN = (*OUTCOMES, "wrong answers")


def curve(view: RiskView, chosen: float) -> alt.LayerChart | alt.FacetChart:
    """Shares of held-out questions against the risk, the one chosen and the one that is taken."""
    x = alt.X("risk:Q", title="at most so many wrong answers", axis=alt.Axis(format="%"))
    lines = (
        alt.Chart(curve_points(view))
        .mark_line(point=True, strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y("share:Q", title="of the questions in scope", axis=alt.Axis(format="%")),
            color=alt.Color(
                "what:N",
                scale=alt.Scale(domain=list(SHOWN), range=COLOURS),
                legend=alt.Legend(title=None, orient="bottom", symbolType="stroke"),
            ),
            tooltip=[
                "what:N", alt.Tooltip("risk:Q", format=".1%"), alt.Tooltip("share:Q", format=".1%")
            ],
        )
    )  # fmt: skip
    marks = [
        alt.Chart(pd.DataFrame([{"risk": risk, "name": name}]))
        .mark_rule(strokeDash=dash, color="#44505e")
        .encode(x="risk:Q", tooltip="name:N")
        for risk, name, dash in (
            (chosen, "chosen here", [1, 0]), (view.now, "the running bot", [4, 4]),
        )
    ]  # fmt: skip
    return alt.layer(lines, *marks).properties(height=340)


def show_measure(measure: Measure, note: str) -> None:
    value = "—" if measure.value is None else f"{measure.value:.1%}"
    st.metric(measure.name.capitalize(), value, help=note)
    if measure.low is not None and measure.high is not None:
        st.caption(f"{measure.low:.1%} to {measure.high:.1%}")


NOTES = {
    "answered": "One intent remains: the bot answers.",
    "asked back": "Several remain: the bot offers them as buttons.",
    "refused": "Nothing fits, or it is out of scope. After a second refusal a person takes over.",
    "handed over": "The message itself asks for a person.",
    "wrong answers": "Answered as another intent than the one meant, of all questions.",
    "right when answered": "Of those answered.",
}


def show_point(point: RiskPoint) -> None:
    by_name = {measure.name: measure for measure in point.measures}
    for place, (name, note) in zip(st.columns(len(NOTES)), NOTES.items(), strict=True):
        with place:
            show_measure(by_name[name], note)
    st.caption(
        f"On {point.n:,} held-out questions in scope, with 95 % intervals. Promised are at most "
        f"{point.risk:.1%} wrong answers. Of the questions back "
        f"{in_words(by_name['choices without it']) or 'none'} do not offer what was meant: “none "
        "of these” stands beside the choices."
    )


def show_live(view: RiskView) -> None:
    """The promise beside what came true."""
    st.subheader("With customers")
    live = view.live
    if live is None or live.seen.decided == 0:
        st.info("This version has decided nothing yet under this risk.")
        return
    seen = live.seen
    st.caption(
        f"Since {live.since:%d %b %Y, %H:%M} UTC: {seen.known:,} of {seen.decided:,} messages were "
        f"judged by their customers: {seen.up:,} thumbs up and {seen.down:,} down on answers; to "
        f"questions back {seen.chosen:,} choices, and {seen.none_of_these:,} times none of these."
    )
    promised, found, verdict = st.columns([1, 1, 2])
    with promised:
        st.metric("Promised at most", f"{live.risk:.1%}")
    with found:
        show_measure(live.wrong, "Thumbs down on answers, of all judged messages.")
    with verdict:
        st.metric("The promise is", re.split("[,;:]", live.verdict)[0])
        st.caption(
            f"{live.verdict[:1].upper()}{live.verdict[1:]}. Who gives a thumb is not everybody, "
            "and an answer that was understood may be disliked."
        )


def show_choice(version: ModelVersion, view: RiskView, chosen: float) -> None:
    """What the running bot takes, and the button that changes it."""
    when = "as trained"
    if view.chosen_at is not None:
        by = f" by {view.chosen_by}" if view.chosen_by else ""
        when = f"chosen {view.chosen_at:%d %b %Y, %H:%M} UTC{by}"
    st.markdown(f"The running bot takes **{view.now:.1%}**.")
    st.text(when)

    def choose(risk: float | None) -> None:
        by = st.session_state.get("agent", "").strip()
        try:
            LiveFile.of(version, lambda: datetime.now(UTC)).choose_risk(risk, by)
        except TriptychError as error:
            st.session_state.told = ("error", str(error))
            return
        taken = view.trained if risk is None else risk
        st.session_state.told = (
            "success",
            f"The bot takes {taken:.1%} from its next message on; no conversation is touched.",
        )

    apply, back = st.columns(2)
    apply.button(
        f"Apply {chosen:.1%} to the running bot", type="primary", width="stretch",
        disabled=chosen == view.now, on_click=choose, args=(chosen,),
    )  # fmt: skip
    back.button(
        f"Back to the {view.trained:.1%} of training", width="stretch",
        disabled=view.now == view.trained, on_click=choose, args=(None,),
    )  # fmt: skip
    st.caption(
        f"Every version of {version.name} takes it, also one that is trained later, until it is "
        "changed here or with `triptych chatbot risk`."
    )


def view_of(version: ModelVersion, *asked: float) -> RiskView:
    with reading(default_home(os.environ)) as connection:
        return risk_view(version, connection, now=datetime.now(UTC), asked=asked)


def chosen_risk(view: RiskView) -> float:
    """That of the slider, which begins where the running bot is."""
    least, most = LEAST_PERCENT, MOST_PERCENT
    start = min(most, max(least, round(view.now * 200) / 2))
    percent = st.slider(
        "At most so many wrong answers, in %", least, most, start, 0.5, format="%.1f %%"
    )
    return round(float(percent) / 100, 4)


def main() -> None:
    st.title("Risk")
    version = chosen_model("chatbot", without="No chatbot has been trained yet.")
    if version is None:
        return
    ask_agent()
    with st.container():
        show_told()
    try:
        view = view_of(version)
        chosen = chosen_risk(view)
        if chosen not in {point.risk for point in view.curve}:
            view = view_of(version, chosen)
    except TriptychError as error:
        st.error(str(error))
        return
    point = view.at(chosen)
    show_point(point)
    if chosen < view.least:
        st.warning(
            f"Below {view.least:.2%} the calibration rows are too few to promise anything: the bot "
            "would ask back or refuse, and answer nothing."
        )
    st.altair_chart(curve(view, chosen), width="stretch")
    left, right = st.columns(2)
    with left:
        st.subheader("The running bot")
        show_choice(version, view, chosen)
    with right:
        show_live(view)
    with st.expander("The curve as a table"):
        st.dataframe(curve_table(view), hide_index=True)


if __name__ == "__main__":
    main()
