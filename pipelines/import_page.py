"""Past dialogues, or another tool's bot, become drafts: what `triptych chatbot import` does."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from pipelines.jobs_page import show_jobs, start_job
from shared.settings import Home, default_home

KIND = "import"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


@dataclass(frozen=True)
class Source:
    """option: of the command. types: of files that may be uploaded, none for a folder."""

    option: str
    types: tuple[str, ...]
    about: str


SOURCES = {
    "Past dialogues": Source(
        "--dialogues",
        ("csv", "tsv", "jsonl", "json", "txt", "gz"),
        "A table with a row for each message, JSON, a transcript (`U: …`, `A: …`), Rasa tracker "
        "events or a Chatwoot export.",
    ),
    "A Rasa 3 bot": Source("--rasa", (), "Its folder: data, domain, responses."),
    "A Dialogflow ES agent": Source("--dialogflow", ("zip",), "As Dialogflow exports it."),
    "A QnA Maker knowledge base": Source("--qna", ("tsv",), "Questions and answers."),
}
COLUMNS = ("dialogue", "speaker", "text", "time", "status")


def upload(source: Source, name: str, home: Home) -> list[Path]:
    """Where the files lie that were uploaded; below the home, for an import that is killed reads
    them again."""
    found = []
    for file in st.file_uploader(
        "Files", type=list(source.types), accept_multiple_files=True, key=f"upload{source.option}"
    ):
        # The browser's name for it: of no folder but ours.
        path = home.uploads / name / Path(file.name.replace("\\", "/")).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.getbuffer())
        found.append(path)
    return found


def dialogue_words() -> list[str]:
    """Options on whose words are whose, where the files do not tell."""
    words: list[str] = []
    with st.expander("Whose words are whose, and other names of columns"):
        left, right = st.columns(2)
        for place, option in ((left, "customer"), (right, "agent")):
            names = place.text_input(f"Speaks as {option}", placeholder="names, joined by commas")
            for each in filter(None, (part.strip() for part in names.split(","))):
                words += [f"--{option}", each]
        for place, column in zip(st.columns(len(COLUMNS)), COLUMNS, strict=True):
            if own := place.text_input(f"`{column}` is").strip():
                words += [f"--{column}-column", own]
    return words


def main() -> None:
    st.title("Import")
    home = default_home(os.environ)
    st.caption(
        "Each request is paired with the agents' best answer to it; personal data are masked, and "
        "nothing is used before somebody has looked at it on the page Drafts."
    )
    kind = st.selectbox("What", list(SOURCES))
    source = SOURCES[kind]
    st.caption(source.about)
    name = st.text_input("Name of the drafts", "support").strip()
    if not NAME.fullmatch(name):
        st.error("A name has letters, digits, - and _, at most 60 of them, and begins with one of "
                 "the first two.")  # fmt: skip
        return
    files = upload(source, name, home) if source.types else []
    here = st.text_input(
        "Folder on this machine" if not source.types else "or files on this machine, a path each",
        placeholder="/srv/export/chats.jsonl" if source.types else "/srv/bots/old",
    )
    files += [Path(part.strip()).expanduser() for part in here.split(",") if part.strip()]
    missing = [str(path) for path in files if not path.exists()]
    if missing:
        st.error(f"There is no such file: {', '.join(missing)}")
    words = ["chatbot", "import", "--output", str(home.imports / name)]
    for path in files:
        words += [source.option, str(path)]
    if source.option == "--dialogues":
        words += dialogue_words()
    st.button(
        "Import", type="primary", disabled=not files or bool(missing), on_click=start_job,
        args=(f"{kind}: {name}", KIND, words),
    )  # fmt: skip
    show_jobs(KIND, "Look it through on the page Drafts; then train with it.")


if __name__ == "__main__":
    main()
