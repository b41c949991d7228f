"""A user's history beside the list with its reasons."""

import os

import pandas as pd
import streamlit as st

from apps.recommender.auditing import open_encoder
from apps.recommender.model_in_use_page import loaded, recommender_in_use, version_of
from apps.recommender.recommender import Recommender
from apps.recommender.rule_cost import WhatIf, what_if
from apps.recommender.settings import RuleSettings
from apps.recommender.word_reasons import WordReasons, word_reasons
from shared.errors import TriptychError
from shared.evaluation.explain import MOST_UNITS
from shared.evaluation.highlight import marked_html
from shared.inference.runtime import Embedder
from shared.settings import default_home

SHOWN_USERS = 500
LIST_COLUMNS = ("rank", "title", "reason", "channels", "score", "item_id")
# In pixels: who proposed an item is to be seen without scrolling.
WIDTHS = {"title": 240, "reason": 390, "channels": 220}


@st.cache_resource(show_spinner="Loading the encoder …")
def encoder_of(reference: str) -> Embedder:
    note = loaded(reference).bundle.encoder
    return open_encoder(note, version_of(reference).path, default_home(os.environ))


@st.cache_data(show_spinner="Looking for the words …", max_entries=500)
def why_of(
    reference: str,
    state: str,  # noqa: ARG001  (what was found for another state of the model does not hold)
    user: str,
    item: str,
    include_seen: bool,
) -> WordReasons:
    return word_reasons(
        loaded(reference), encoder_of(reference), user, item, include_seen=include_seen
    )


def chosen_user(recommender: Recommender) -> str:
    """By typing an id, or from the first users of the log."""
    typed = st.sidebar.text_input(
        "User id", help="Any id; one the log does not know is a new user."
    )
    first = list(recommender.users[:SHOWN_USERS])
    listed = st.sidebar.selectbox(f"or one of the first {len(first)}", first)
    return typed.strip() or str(listed or "")


def show_user(reference: str, user: str, k: int, include_seen: bool) -> None:
    """The list with its reasons, and below it the history it comes from."""
    recommender = loaded(reference)
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
        st.dataframe(
            frame[list(LIST_COLUMNS)],
            hide_index=True,
            column_config={
                name: st.column_config.TextColumn(width=width) for name, width in WIDTHS.items()
            },
        )
        with st.expander("What the shop's rules do"):
            show_rules(recommender, user, k, include_seen)
        if not history.empty:
            with st.expander("Which words brought it here"):
                shown = dict(zip(frame["item_id"], frame["title"], strict=True))
                item = st.selectbox(
                    "Item of the list",
                    list(shown),
                    index=None,
                    format_func=lambda listed: shown[listed],
                    placeholder="Choose an item",
                )
                if item is not None:
                    show_words(reference, user, item, include_seen)


def show_rules(recommender: Recommender, user: str, k: int, include_seen: bool) -> None:
    """The ranking's own list and what became of it, under the shop's rules or under tried ones."""
    own = recommender.rules
    tried = tried_rules(own)
    found = what_if(recommender, user, k, include_seen=include_seen, rules=tried)
    whose = "the shop's rules" if tried == own else "the rules tried here"
    st.caption(said_of(found, whose))
    titles = dict(
        zip(recommender.bundle.catalog.ids, recommender.bundle.catalog.titles, strict=True)
    )
    without, under = st.columns(2)
    for column, label, frame, last in (
        (without, "Without rules", found.unruled, "under the rules"),
        (under, f"Under {whose}", found.listed, "reason"),
    ):
        column.caption(label)
        shown = frame.assign(title=frame["item_id"].map(titles))
        column.dataframe(shown[["rank", "title", last, "item_id"]], hide_index=True)
    for note in recommender.day_rules(rules=tried).notes:
        st.caption(f"Fits nothing: {note}.")


def tried_rules(own: RuleSettings) -> RuleSettings:
    """What the widgets say; at first the shop's own. The other rules stay as they are."""
    dearest, limit = st.columns(2)
    price_to = dearest.number_input(
        "Dearest price", min_value=own.price_from or 0.0, value=own.price_to, placeholder="no limit"
    )
    per_category = limit.number_input(
        "Of one category at most", min_value=1, value=own.per_category, placeholder="no limit"
    )
    diversity = st.slider("Variety", 0.0, 0.95, min(own.diversity, 0.95), 0.05)
    explore = st.slider("Share of new items drawn by lot", 0.0, 0.5, own.explore, 0.05)
    changed = {
        "price_to": price_to,
        "per_category": per_category,
        "diversity": diversity,
        "explore": explore,
    }
    return own.model_copy(update=changed)


def said_of(found: WhatIf, whose: str) -> str:
    """What the rules cost this user, in plain words."""
    moved = found.unruled["under the rules"]
    stayed = sum(said == f"place {at}" for at, said in enumerate(moved, start=1))
    return (
        f"Under {whose} the list keeps {found.kept:.1%} of what the ranking expects of its own "
        f"list; {stayed} of {len(moved)} items are where the ranking has them. The rules of the "
        "shop are in [recommender.rules] of triptych.toml; what is tried here is not kept."
    )


def show_words(reference: str, user: str, item: str, include_seen: bool) -> None:
    """The item's text with what each word did, and how much of the score is about words at all."""
    try:
        why = why_of(reference, loaded(reference).fingerprint, user, item, include_seen)
    except TriptychError as error:
        st.info(f"{str(error)[:1].upper()}{str(error)[1:]}.")
        return
    st.caption(
        "The item's text in the catalogue: what spoke for it with this user (green) and against it "
        "(red)."
    )
    st.html(marked_html(why))
    if why.untried:
        st.caption(f"Only the first {MOST_UNITS} words were tried, not the last {why.untried}.")
    st.caption(limits_of(why))
    st.dataframe(
        pd.DataFrame(
            [(name, part, why.written.get(name)) for name, part in why.channels.items()],
            columns=["channel", "part of the score", "lost without the text"],
        ),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%+.2f")
            for name in ("part of the score", "lost without the text")
        },
    )


def limits_of(why: WordReasons) -> str:
    """What the shading speaks of and what it does not, in plain words."""
    others = " and ".join(f"`{name}`" for name in why.channels if name not in why.written)
    said = (
        f"A word's part is what the item's score loses without it. Against the average candidate "
        f"this item stands at {why.total:+.2f}, of which {why.by_text:+.2f} are by the channels "
        f"that read the text. The rest, {others}, is about who took the item and how many did: no "
        "word explains it, nor what the model learned of this one item beyond its text: where "
        "little is lost without the text, that would have brought it here too."
    )
    if why.kind == "trees":
        said += (
            " The list is ordered by trees, which weigh this score together with price, age and "
            "other facts."
        )
    return said


def main() -> None:
    st.title("Recommender")
    model = recommender_in_use()
    if model is None:
        return
    reference = model.reference
    k = st.sidebar.slider("Items", min_value=1, max_value=50, value=10)
    include_seen = st.sidebar.toggle("Also what the user has had")
    try:
        recommender = loaded(reference)
        user = chosen_user(recommender)
        show_user(reference, user, k, include_seen)
    except TriptychError as error:
        st.error(str(error))


if __name__ == "__main__":
    main()
