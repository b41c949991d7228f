"""Which released model a page shows: the chooser in the sidebar of every application's page."""

import os
from datetime import UTC, datetime

import streamlit as st

from shared.errors import TriptychError
from shared.registry import ModelVersion, Registry
from shared.settings import default_home


def page_registry() -> Registry:
    """Of the home that the pages read."""
    return Registry(default_home(os.environ).models, lambda: datetime.now(UTC))


def chosen_model(app: str, *, without: str) -> ModelVersion | None:
    """The version chosen, the newest at first. None where there is none to choose, or a manifest
    cannot be read; the page then says so. without: what it says where nothing is trained yet."""
    try:
        versions = {version.title: version for version in page_registry().versions_of(app)}
    except TriptychError as error:
        st.error(str(error))
        return None
    if not versions:
        st.info(without)
        return None
    return versions[st.sidebar.selectbox("Model", list(versions))]
