"""Every released model: its figures, which one is live, and its report. Never imports torch."""

import pandas as pd
import streamlit as st

from shared.model_choice_page import page_registry
from shared.registry import ModelVersion


def figures_of(versions: list[ModelVersion]) -> pd.DataFrame:
    """One row for each version, one column for each figure that any of them has."""
    rows = [
        {
            "model": f"{v.name}@{v.version}",
            "live": v.production,
            "application": v.app,
            "made": v.created_at,
            **v.metrics,
        }
        for v in versions
    ]
    return pd.DataFrame(rows)


def main() -> None:
    st.title("Models")
    registry = page_registry()
    versions = [v for name in registry.names() for v in reversed(registry.versions(name))]
    if not versions:
        st.info("Nothing has been trained yet. `triptych demo` trains three models on sample data.")
        return
    for app in sorted({v.app for v in versions}):
        st.subheader(app.capitalize())
        table = figures_of([v for v in versions if v.app == app])
        st.dataframe(
            table.drop(columns="application"),
            hide_index=True,
            column_config={"made": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")},
        )
    chosen = st.selectbox("Report of", [f"{v.name}@{v.version}" for v in versions])
    version = next(v for v in versions if f"{v.name}@{v.version}" == chosen)
    report = version.path / "report.html"
    if report.is_file():
        # Our own page, with every text escaped when it was written; the frame keeps it apart.
        st.iframe(report.read_text(encoding="utf-8"), height=1400)
    else:
        st.caption("This version has no report.")


if __name__ == "__main__":
    main()
