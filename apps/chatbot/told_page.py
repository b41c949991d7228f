"""What came of the last button, told above a page."""

import streamlit as st


def show_told() -> None:
    """`st.session_state.told` holds "success" or "error", and the words; it is told once."""
    kind, text = st.session_state.pop("told", ("", ""))
    if kind == "error":
        st.error(text)
    elif kind:
        st.success(text)
