"""Every released model: its figures, which one is live, its report, and a candidate beside the live
version on the held-out rows that both have. Never imports torch."""

import os

import pandas as pd
import streamlit as st

from apps.chatbot.shadow import Shadow, shadow
from pipelines.compare import Compared, compare_held_out
from pipelines.jobs_page import show_jobs, start_job
from shared.errors import TriptychError
from shared.evaluation.gate import SECTION, GateLimits
from shared.model_choice_page import page_registry
from shared.registry import ModelVersion, Registry
from shared.settings import default_home, load_section, settings_file

KIND = "release"
MOMENT = st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")


def figures_of(versions: list[ModelVersion]) -> pd.DataFrame:
    """One row for each version, one column for each figure that any of them has."""
    rows = [
        {
            "model": f"{v.name}@{v.version}",
            "live": v.production,
            **({} if v.withdrawn is None else {"rolled back": v.withdrawn}),
            "application": v.app,
            "made": v.created_at,
            **v.metrics,
        }
        for v in versions
    ]
    return pd.DataFrame(rows)


def history_table(registry: Registry) -> pd.DataFrame:
    """What went live and why, rollbacks too, the newest first."""
    rows = [
        (pd.Timestamp(entry["at"]), f"{name}@{entry['version']}", entry["reason"])
        for name in registry.names()
        for entry in registry.history(name)
    ]
    table = pd.DataFrame(rows, columns=["at", "went live", "because"])
    # The later of two at the same moment stands above the earlier one.
    return table[::-1].sort_values("at", ascending=False, kind="stable", ignore_index=True)


@st.cache_data(show_spinner="Comparing …", max_entries=20)
def compared(_candidate: ModelVersion, _production: ModelVersion, names: str) -> Compared:
    """names: both, and the limits: what the answer is kept under."""
    del names
    limits = load_section(GateLimits, SECTION, file=settings_file(os.environ), environ=os.environ)
    return compare_held_out(
        _candidate, _production, must_pass=None, limits=limits, home=default_home(os.environ),
        say=lambda _line: None, load=False,
    )  # fmt: skip


def checks_table(found: Compared) -> pd.DataFrame:
    """What the gate would say of each slice and label, the failed ones first."""
    order = {"failed": 0, "undecided": 1, "passed": 2}
    checks = sorted(found.verdict.checks, key=lambda check: order[check.status])
    rows = [(check.status, check.name, check.reason) for check in checks]
    return pd.DataFrame(rows, columns=["says", "of", "because"])


def moves_table(found: Shadow) -> pd.DataFrame:
    """Production's decisions down, the candidate's across: how many questions."""
    rows = [(old, new, count) for (old, new), count in found.moves.items()]
    moves = pd.DataFrame(rows, columns=["production", "candidate", "questions"])
    return moves.pivot_table(
        index="production", columns="candidate", values="questions", fill_value=0
    ).astype(int)


def differences_table(found: Shadow) -> pd.DataFrame:
    """The questions that the two decide otherwise."""
    words = {True: "better", False: "worse", None: "as good"}
    rows = [
        (words[each.better], each.question, each.meant, each.production, each.candidate)
        for each in found.differences
    ]
    return pd.DataFrame(
        rows, columns=["candidate is", "question", "meant", "production", "candidate"]
    )


def show_comparison(versions: list[ModelVersion]) -> None:
    """A version that is not live beside the one of its name that is."""
    live = {version.name: version for version in versions if version.production}
    candidates = {v.reference: v for v in versions if not v.production and v.name in live}
    if not candidates:
        return
    st.subheader("Candidate beside production")
    chosen = st.selectbox("Candidate", list(candidates))
    candidate = candidates[chosen]
    production = live[candidate.name]
    try:
        found = compared(
            candidate,
            production,
            f"{default_home(os.environ).root} {chosen} {production.reference}",
        )
    except TriptychError as error:
        st.info(str(error))
        offer_release(candidate, production)
        return
    verdict = "passes" if found.verdict.passed else "does not pass"
    st.markdown(f"{found.title}: **{verdict}** the gate, as far as held-out rows can tell.")
    st.caption(
        f"{'; '.join(found.notes)}. Speed and must-pass cases are judged by the button below, "
        "which loads both versions as `triptych models promote` does."
    )
    st.dataframe(checks_table(found), hide_index=True, height=280)
    offer_release(candidate, production)
    if candidate.app == "chatbot":
        show_shadow(candidate, production)


def offer_release(candidate: ModelVersion, production: ModelVersion) -> None:
    """Buttons for what `triptych models promote` and `rollback` do, and what they said."""
    left, right = st.columns(2)
    name, version = candidate.name, str(candidate.version)
    left.button(
        f"Make {candidate.reference} live, if the gate lets it", width="stretch",
        on_click=start_job,
        args=(f"{candidate.reference} instead of {production.reference}", KIND,
              ["models", "promote", name, version]),
    )  # fmt: skip
    right.button(
        f"Roll {name} back to the version before {production.reference}", width="stretch",
        on_click=start_job,
        args=(f"{name}: back from {production.reference}", KIND, ["models", "rollback", name]),
    )  # fmt: skip
    show_jobs(KIND, "Done: above is what is live now.")


def show_shadow(candidate: ModelVersion, production: ModelVersion) -> None:
    """What customers would have met."""
    try:
        found = shadow(candidate, production)
    except TriptychError as error:
        st.info(str(error))
        return
    better, worse = (sum(d.better is kind for d in found.differences) for kind in (True, False))
    st.markdown(
        f"Of {found.n:,} held-out questions {len(found.differences):,} would be decided otherwise: "
        f"{better:,} better, {worse:,} worse."
    )
    if not found.n:
        return
    moves, changed = st.columns([1, 3])
    moves.dataframe(moves_table(found))
    changed.dataframe(differences_table(found), hide_index=True)


def main() -> None:
    st.title("Models")
    registry = page_registry()
    versions = [v for name in registry.names() for v in reversed(registry.versions(name))]
    if not versions:
        st.info("Nothing has been trained yet. `triptych demo` trains three models on sample data.")
        return
    for app in sorted({v.app for v in versions}):
        st.subheader(app.capitalize())
        table = figures_of([v for v in versions if v.app == app])
        st.dataframe(
            table.drop(columns="application"),
            hide_index=True,
            column_config={"made": MOMENT, "rolled back": MOMENT},
        )
    with st.expander("What went live and when"):
        st.dataframe(history_table(registry), hide_index=True, column_config={"at": MOMENT})
    show_comparison(versions)
    chosen = st.selectbox("Report of", [f"{v.name}@{v.version}" for v in versions])
    version = next(v for v in versions if f"{v.name}@{v.version}" == chosen)
    report = version.path / "report.html"
    if report.is_file():
        # Our own page, with every text escaped when it was written; the frame keeps it apart.
        st.iframe(report.read_text(encoding="utf-8"), height=1400)
    else:
        st.caption("This version has no report.")


if __name__ == "__main__":
    main()
