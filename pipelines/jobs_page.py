"""What a page shows of the commands that it started."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from pipelines.page_jobs import Job, State, jobs_of, start, stop
from shared.errors import TriptychError
from shared.settings import default_home

REFRESH_SECONDS = 2
MOST_SHOWN = 10
BADGES = {
    State.RUNNING: ":blue-badge[running]",
    State.FINISHED: ":green-badge[finished]",
    State.FAILED: ":red-badge[failed]",
    State.STOPPED: ":orange-badge[stopped]",
    State.KILLED: ":red-badge[killed]",
}


def start_job(title: str, kind: str, words: Sequence[str]) -> None:
    """For a button: start it, or say on the next run of the page why not."""
    home = default_home(os.environ)
    try:
        start(home.page_jobs, title, kind, words, now=datetime.now(UTC), environ=os.environ)
    except TriptychError as error:
        st.session_state.job_error = str(error)


def show_jobs(kind: str, then: str) -> None:
    """The jobs of a kind, the newest open. then: for a person, what comes after one that is
    finished."""
    if said := st.session_state.pop("job_error", None):
        st.error(said)
    running = any(job.state is State.RUNNING for job in _jobs(kind))
    st.fragment(_draw, run_every=REFRESH_SECONDS if running else None)(kind, then, running)


def _jobs(kind: str) -> list[Job]:
    return jobs_of(default_home(os.environ).page_jobs, kind)[:MOST_SHOWN]


def _draw(kind: str, then: str, was_running: bool) -> None:
    jobs = _jobs(kind)
    if was_running and not any(job.state is State.RUNNING for job in jobs):
        st.rerun()  # the whole page: what it offers depends on what has been made
    for number, job in enumerate(jobs):
        with st.expander(
            f"{BADGES[job.state]} {job.title}, {job.started:%Y-%m-%d %H:%M} UTC",
            expanded=number == 0,
        ):
            st.code(job.command, language="shell", wrap_lines=True)
            if job.state is State.RUNNING:
                st.button("Stop", key=f"stop {job.folder.name}", on_click=stop, args=(job,))
            elif job.state is State.FINISHED:
                st.success(then)
            elif job.state is not State.FAILED:
                st.info("It did not come to its end. Started again, it goes on where it can.")
            st.code(job.log or "…", language=None, wrap_lines=True, height=260)
