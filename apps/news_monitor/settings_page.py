"""What the monitor is set to do, as it would start now."""

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import streamlit as st

from apps.news_monitor.settings import SECTION, NewsSettings
from apps.news_monitor.settings_view import setting_lines
from shared.errors import TriptychError
from shared.settings import load_section, settings_file
from shared.settings_lines import lines_of_keys, place_of_key


def where(keys: str, file: Path | None, numbers: Mapping[str, int]) -> str:
    """Where the keys, joined by commas, are set."""
    places = [
        place_of_key(key, SECTION, file=file, lines=numbers, environ=os.environ)
        for key in keys.split(", ")
    ]
    return "; ".join(dict.fromkeys(place for place in places if place)) or "default"


def main() -> None:
    st.title("Settings")
    try:
        file = settings_file(os.environ)
        settings = load_section(NewsSettings, SECTION, file=file, environ=os.environ)
    except TriptychError as error:
        st.error(str(error))
        return
    read = (
        f"Read from `{file}`, section `[news]`"
        if file
        else "These are the defaults, for there is no `triptych.toml` where this was started"
    )
    numbers = lines_of_keys(file.read_text(encoding="utf-8-sig")) if file else {}
    st.caption(
        f"{read}; variables `TRIPTYCH_NEWS__…` of the environment win. Change them "
        "there, for comments and secrets stay yours, and start the monitor again; a key such as "
        "`surges.min_negative` stands in the table `[news.surges]`. What another budget or rule "
        "would have told is on the page The laboratory; `triptych news test-mail` tries the mail "
        "server."
    )
    lines = setting_lines(settings)
    for group in dict.fromkeys(line.group for line in lines):
        st.subheader(group)
        frame = pd.DataFrame(
            [
                {
                    "what": line.what,
                    "set to": line.value,
                    "key": line.key,
                    "where": where(line.key, file, numbers),
                }
                for line in lines
                if line.group == group
            ]
        )
        st.dataframe(frame, hide_index=True, width="stretch")


if __name__ == "__main__":
    main()
