"""The recommender that the pages show, loaded once for all of them."""

import os

import streamlit as st

from apps.recommender.live import LiveRecommender, open_live
from apps.recommender.recommender import Recommender
from shared.model_choice_page import chosen_model, page_registry
from shared.registry import ModelVersion
from shared.settings import default_home


def recommender_in_use() -> ModelVersion | None:
    """The version chosen in the sidebar; None, and the page says how to train one, without any."""
    return chosen_model(
        "recommender",
        without="No recommender has been trained yet. "
        "`triptych train recommender --items F --events F --name shop` trains one.",
    )


def version_of(reference: str) -> ModelVersion:
    return page_registry().resolve(reference, app="recommender")


@st.cache_resource(show_spinner="Loading the model …")
def live(reference: str) -> LiveRecommender:
    return open_live(version_of(reference).path, home=default_home(os.environ))


def loaded(reference: str) -> Recommender:
    """With what has been added to it by now."""
    return live(reference).current()
