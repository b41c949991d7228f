"""The catalogue as a map to be searched, and what is near to an item."""

import altair as alt
import pandas as pd
import streamlit as st

from apps.recommender.catalogue_map import catalogue_map, found_by
from apps.recommender.model_in_use_page import loaded, recommender_in_use
from shared.errors import TriptychError

COLOURED = 12  # categories with a colour of their own
OTHER = "other"
NEAR = 10


@st.cache_data(show_spinner="Laying the catalogue out …", max_entries=4)
def map_of(reference: str, state: str) -> pd.DataFrame:  # noqa: ARG001  (another state: anew)
    return catalogue_map(loaded(reference).bundle)


def map_chart(frame: pd.DataFrame, found: pd.Series) -> alt.Chart:
    """found: (n,) the items searched for; all where none is."""
    common = [name for name in frame["category"].value_counts().index if name][:COLOURED]
    shown = frame.assign(
        group=frame["category"].where(frame["category"].isin(common), OTHER),
        found=found if found.any() else True,
    )
    base = alt.Chart(shown).encode(
        x=alt.X("x:Q", axis=None),
        y=alt.Y("y:Q", axis=None),
        color=alt.Color(
            "group:N",
            scale=alt.Scale(domain=[*common, OTHER], scheme="tableau20"),
            legend=alt.Legend(title=None, orient="right", labelLimit=0),
        ),
        opacity=alt.condition("datum.found", alt.value(0.85), alt.value(0.08)),
        size=alt.condition(
            "datum.found",
            alt.Size("taken:Q", scale=alt.Scale(type="sqrt", range=[25, 260]), legend=None),
            alt.value(20),
        ),
        tooltip=["title:N", "category:N", alt.Tooltip("taken:Q", title="users"), "item_id:N"],
    )
    chart: alt.Chart = base.mark_circle().properties(height=620).interactive()
    return chart


def show_similar(reference: str, frame: pd.DataFrame) -> None:
    """Neighbours of one item in the three tables that do not depend on a user."""
    st.subheader("Similar items")
    names = dict(zip(frame["item_id"], frame["title"], strict=True))
    item = st.selectbox("Item", list(names), format_func=lambda name: f"{names[name]} ({name})")
    if item is not None:
        st.dataframe(loaded(reference).similar(item, NEAR), hide_index=True)
        st.caption("together: chosen by the same users; words, meaning: how like their texts are")


def main() -> None:
    st.title("Catalogue map")
    model = recommender_in_use()
    if model is None:
        return
    try:
        recommender = loaded(model.reference)
        frame = map_of(model.reference, recommender.fingerprint)
        if frame.empty:
            st.info("No item of this catalogue has a text: there is nothing to lay out.")
            return
        wanted = st.text_input("Search", placeholder="words of a title, a category or an item id")
        found = pd.Series(found_by(frame, wanted), index=frame.index)
        st.altair_chart(map_chart(frame, found), width="stretch")
        st.caption(
            f"{len(frame):,} items; near means like in meaning, larger means taken by more users"
            + (f"; {int(found.sum()):,} found" if wanted.strip() else "")
        )
        show_similar(model.reference, frame[found] if found.any() else frame)
    except TriptychError as error:
        st.error(str(error))


if __name__ == "__main__":
    main()
