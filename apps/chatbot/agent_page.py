"""Who is at the desk: the name under which a page keeps what this person decides."""

import streamlit as st


def ask_agent() -> str:
    """The name as it was typed on any page of this visit, "" before."""
    return st.sidebar.text_input("Your name", key="agent", max_chars=100).strip()
