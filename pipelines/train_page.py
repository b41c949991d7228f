"""Train a model from the dashboard: what `triptych train` does, with the files and the settings
that matter most. What came of it is on the pages Runs and Models."""

import os
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from apps.chatbot.mining.draft_folder import remembered
from pipelines.jobs_page import show_jobs, start_job
from shared.settings import Home, default_home
from shared.training.options import Method

KIND = "train"


@dataclass(frozen=True)
class File:
    """option: of the command. needed: without it there is nothing to learn."""

    option: str
    about: str
    needed: bool = False


@dataclass(frozen=True)
class Trainable:
    """files: what it learns from. least: how many of the needed ones there must be."""

    word: str
    name: str
    files: tuple[File, ...]
    least: int


APPS = {
    "Chatbot": Trainable(
        "chatbot",
        "support",
        (
            File("--examples", "`text,label`, or `question,answer`", needed=True),
            File("--answers", "`answer[,label]`, or answers.yml: what may be said"),
            File("--entities", "entities.yml: lists, synonyms, patterns"),
            File("--out-of-scope", "`text`: what must be refused"),
            File("--unlabelled", "`text`: learned from too, if that helps"),
        ),
        1,
    ),
    "News monitor": Trainable(
        "news",
        "news",
        (
            File("--sentiment", "`text,label`: negative, neutral, positive", needed=True),
            File("--topics", "`text,label`, several topics joined by |", needed=True),
        ),
        1,
    ),
    "Recommender": Trainable(
        "recommender",
        "shop",
        (
            File("--items", "`item_id,title[,description,…]`", needed=True),
            File("--events", "`user_id,item_id,timestamp[,event,value]`", needed=True),
        ),
        2,
    ),
}
# Of a folder of drafts -> the option that takes it.
DRAFTED = {"examples.csv": "--examples", "answers.yml": "--answers", "entities.yml": "--entities"}


def files_of(app: Trainable, home: Home) -> dict[str, str]:
    """Option -> path, as far as they are filled in."""
    drafts = {str(path): path for path in remembered(home.drafts)} if app.word == "chatbot" else {}
    folder = None
    if drafts:
        chosen = st.selectbox("Drafts", ["none", *drafts])
        folder = drafts.get(chosen)
    found = {}
    for file in app.files:
        known = ""
        for named, option in DRAFTED.items():
            if folder is not None and option == file.option and (folder / named).is_file():
                known = str(folder / named)
        # Another folder is another field: a field keeps what it was first shown with.
        path = st.text_input(
            f"{file.option.removeprefix('--').capitalize()}: {file.about}",
            known,
            key=f"{app.word}{file.option}{folder}",
            placeholder="a file on this machine",
        ).strip()
        if path:
            found[file.option] = path
    return found


def main() -> None:
    st.title("Train")
    home = default_home(os.environ)
    app = APPS[st.selectbox("Application", list(APPS))]
    given = files_of(app, home)
    left, middle, right = st.columns(3)
    name = left.text_input("Name of the model", app.name, key=f"name {app.word}").strip()
    method = middle.selectbox(
        "Fine-tuning", [each.value for each in Method],
        help="auto decides by how much there is to learn from; frozen takes a minute and never "
        "fine-tunes.",
    )  # fmt: skip
    minutes = right.number_input("Minutes it may take, about", 0.0, 600.0, 10.0, step=5.0)
    missing = [path for path in given.values() if not Path(path).expanduser().is_file()]
    if missing:
        st.error(f"There is no such file: {', '.join(missing)}")
    words = ["train", app.word, "--name", name, "--method", str(method)]
    if minutes:
        words += ["--minutes", f"{minutes:g}"]
    for option, path in given.items():
        words += [option, str(Path(path).expanduser())]
    needed = sum(file.needed and file.option in given for file in app.files)
    st.button(
        "Train", type="primary", disabled=needed < app.least or bool(missing) or not name,
        on_click=start_job, args=(f"{app.word} {name}", KIND, words),
    )  # fmt: skip
    show_jobs(
        KIND,
        "Its figures and its report are on the page Models, beside the live version; how it went "
        "is on the page Runs.",
    )


if __name__ == "__main__":
    main()
