"""A user's history beside the list with its reasons, and what is near to an item."""

import os
from datetime import UTC, datetime

import streamlit as st

from apps.recommender.recommender import Recommender
from shared.errors import TriptychError
from shared.registry import Registry
from shared.settings import default_home

SHOWN_USERS = 500
LIST_COLUMNS = ("rank", "title", "reason", "channels", "score", "item_id")


@st.cache_resource(show_spinner="Loading the model …")
def loaded(reference: str) -> Recommender:
    home = default_home(os.environ)
    registry = Registry(home.models, lambda: datetime.now(UTC))
    return Recommender.load(registry.resolve(reference, app="recommender").path, home=home)


def chosen_user(recommender: Recommender) -> str:
    """By typing an id, or from the first users of the log."""
    typed = st.sidebar.text_input(
        "User id", help="Any id; one the log does not know is a new user."
    )
    first = list(recommender.users[:SHOWN_USERS])
    listed = st.sidebar.selectbox(f"or one of the first {len(first)}", first)
    return typed.strip() or str(listed or "")


def show_user(recommender: Recommender, user: str, k: int, include_seen: bool) -> None:
    """The list with its reasons, and below it the history it comes from."""
    # One above the other: beside each other the reasons would be cut off.
    listed, past = st.container(), st.container()
    history = recommender.history(user)
    with past:
        st.subheader("What the user did")
        if history.empty:
            st.info("Nothing is known of this user: the list is what is popular.")
        else:
            st.caption(f"{len(history)} items, the newest first")
            st.dataframe(history[["title", "time", "weight", "item_id"]], hide_index=True)
    with listed:
        st.subheader("What we recommend")
        frame = recommender.recommend([user], k, include_seen)
        titles = dict(
            zip(recommender.bundle.catalog.ids, recommender.bundle.catalog.titles, strict=True)
        )
        channels = recommender.sources(user, k, include_seen)
        frame = frame.assign(title=frame["item_id"].map(titles)).merge(
            channels, on="item_id", how="left"
        )
        st.caption("channels: who proposed the item before it was ranked")
        st.dataframe(frame[list(LIST_COLUMNS)], hide_index=True)


def show_similar(recommender: Recommender, k: int) -> None:
    """Neighbours of one item in the three tables that do not depend on a user."""
    catalog = recommender.bundle.catalog
    names = {
        f"{title} ({item})": item for item, title in zip(catalog.ids, catalog.titles, strict=True)
    }
    chosen = st.selectbox("Item", list(names)[: 20 * SHOWN_USERS])
    if chosen:
        st.dataframe(recommender.similar(names[chosen], k), hide_index=True)


def main() -> None:
    st.title("Recommender")
    registry = Registry(default_home(os.environ).models, lambda: datetime.now(UTC))
    models = {version.title: version.reference for version in registry.versions_of("recommender")}
    if not models:
        st.info(
            "No recommender has been trained yet. "
            "`triptych train recommender --items F --events F --name shop` trains one."
        )
        return
    reference = models[st.sidebar.selectbox("Model", list(models))]
    k = st.sidebar.slider("Items", min_value=1, max_value=50, value=10)
    include_seen = st.sidebar.toggle("Also what the user has had")
    try:
        recommender = loaded(reference)
        user = chosen_user(recommender)
        by_user, by_item = st.tabs(["A user", "Similar items"])
        with by_user:
            show_user(recommender, user, k, include_seen)
        with by_item:
            show_similar(recommender, k)
    except TriptychError as error:
        st.error(str(error))


if __name__ == "__main__":
    main()
