"""What `triptych data doctor` found, with a fix to tick for each finding; copies are mended."""

import os
import shlex
from pathlib import Path

import streamlit as st

from apps.chatbot.doctor.findings import Finding
from apps.chatbot.doctor.fixing import ANSWERS_FILE, write_fixed
from apps.chatbot.doctor.folder import FINDINGS_FILE, FIXED_FOLDER, Examined, load
from apps.chatbot.doctor.reading import read_bot_data
from apps.chatbot.doctor.report import ABOUT
from apps.chatbot.formats.kept import ENTITIES_FILE
from shared.errors import TriptychError
from shared.settings import Home, default_home

AT_ONCE = 25  # findings on the screen
BADGES = {"error": ":red-badge[error]", "warning": ":orange-badge[warning]"}


def folders(home: Home) -> dict[str, Path]:
    """Name -> the folder of an examination, the newest first."""
    found = sorted(home.doctor.glob(f"*/{FINDINGS_FILE}"), key=lambda p: -p.stat().st_mtime)
    return {path.parent.name: path.parent for path in found}


def ticked() -> set[str]:
    """Ids of the findings to be mended."""
    chosen: set[str] = st.session_state.setdefault("ticked", set())
    return chosen


def tick(name: str) -> None:
    ticked().symmetric_difference_update({name})


def tick_all(names: list[str], wanted: bool) -> None:
    if wanted:
        ticked().update(names)
    else:
        ticked().difference_update(names)


def show_finding(each: Finding) -> None:
    with st.container(border=True):
        left, right = st.columns([3, 2])
        with left:
            st.markdown(f"{BADGES[each.severity]} :gray[{each.id}]")
            st.text(each.what)
            st.caption(", ".join(f"{Path(p.file).name}:{p.line}" for p in each.places[:6]))
        with right:
            if each.fix is None:
                st.text(each.advice)
                return
            st.checkbox(
                "Fix: " + ("sure" if each.fix.sure else "have a look first"),
                value=each.id in ticked(), key=f"tick-{each.id}-{len(ticked())}",
                on_change=tick, args=(each.id,),
            )  # fmt: skip
            st.text(each.fix.words)


def show_kind(findings: tuple[Finding, ...]) -> None:
    kinds: dict[str, list[Finding]] = {}
    for each in findings:
        kinds.setdefault(each.kind, []).append(each)
    kind = st.selectbox(
        "Kind", list(kinds), format_func=lambda name: f"{name} ({len(kinds[name])})"
    )
    st.caption(ABOUT[kind])
    several = kinds[kind]
    names = [each.id for each in several if each.fix is not None]
    if names:
        left, right, _ = st.columns([1, 1, 3])
        left.button("Tick all of this kind", on_click=tick_all, args=(names, True))
        right.button("Untick them", on_click=tick_all, args=(names, False))
    pages = -(-len(several) // AT_ONCE)
    page = st.number_input("Page", 1, pages, 1) if pages > 1 else 1
    for each in several[(page - 1) * AT_ONCE : page * AT_ONCE]:
        show_finding(each)


def show_writing(examined: Examined, home: Home) -> None:
    chosen = [each for each in examined.findings if each.id in ticked() and each.fix]
    target = examined.folder / FIXED_FOLDER
    there = target.is_dir() and any(target.iterdir())
    replace = not there or st.checkbox("Replace the copies that an earlier run wrote", value=False)
    if not st.button(
        f"Write copies with {len(chosen)} fixes", type="primary", disabled=not (chosen and replace)
    ):
        return
    notes: list[str] = []
    try:
        data = read_bot_data(examined.sources, home, notes.append)
        fixed = write_fixed(chosen, examined.sources, data, target, overwrite=True)
    except TriptychError as error:
        st.error(str(error))
        return
    st.success(f"{fixed.changed} changes. Your own files are as they were.")
    command = ["triptych", "train", "chatbot"]
    for path in fixed.written[: len(examined.sources.examples)]:
        command += ["--examples", path]
    if examined.sources.answers is not None:
        command += ["--answers", str(target / ANSWERS_FILE)]
    if examined.sources.entities is not None:
        command += ["--entities", str(target / ENTITIES_FILE)]
    st.code(f"{shlex.join(command)} --name NAME", language="bash")


def main() -> None:
    st.title("Data doctor")
    home = default_home(os.environ)
    known = folders(home)
    if not known:
        st.info(
            "Nothing has been examined yet. Run `triptych data doctor chatbot --examples FILE "
            "--answers FILE` without --output."
        )
        return
    name = st.sidebar.selectbox("Examined", list(known))
    if st.session_state.get("examined") != name:
        st.session_state.examined = name
        st.session_state.ticked = set()
    try:
        examined = load(known[name])
    except TriptychError as error:
        st.error(str(error))
        return
    st.write(f"{examined.words}.")
    for note in examined.notes:
        st.caption(note)
    if not examined.findings:
        st.success("Nothing was found.")
        return
    sure = [each.id for each in examined.findings if each.fix and each.fix.sure]
    if sure:
        st.button(f"Tick the {len(sure)} that are sure", on_click=tick_all, args=(sure, True))
    if (changed := examined.changed()) is not None:
        st.warning(f"{changed} has changed since; run `triptych data doctor` again to mend it.")
    else:
        show_writing(examined, home)
    show_kind(examined.findings)


if __name__ == "__main__":
    main()
