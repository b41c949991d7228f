"""The front door over all pages; run by `triptych dashboard`."""

from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    st.set_page_config(page_title="Triptych", page_icon="📰", layout="wide")
    apps = ROOT / "apps"
    chatbot, news, shop = apps / "chatbot", apps / "news_monitor", apps / "recommender"
    st.navigation(
        {
            "": [
                st.Page(ROOT / "pipelines" / "models_page.py", title="Models", default=True),
                st.Page(ROOT / "pipelines" / "runs_page.py", title="Runs"),
                st.Page(ROOT / "pipelines" / "train_page.py", title="Train"),
            ],
            "Chatbot": [
                st.Page(chatbot / "chat_page.py", title="Chat"),
                st.Page(chatbot / "inbox_page.py", title="Inbox"),
                st.Page(chatbot / "review_page.py", title="Review"),
                st.Page(chatbot / "analytics_page.py", title="Analytics"),
                st.Page(chatbot / "intents_page.py", title="Intents and answers"),
                st.Page(chatbot / "risk_page.py", title="Risk"),
                st.Page(ROOT / "pipelines" / "import_page.py", title="Import"),
                st.Page(chatbot / "drafts_page.py", title="Drafts"),
                st.Page(chatbot / "doctor_page.py", title="Data doctor"),
            ],
            "News monitor": [
                st.Page(news / "overview_page.py", title="Overview"),
                st.Page(news / "topic_page.py", title="Topic"),
                st.Page(news / "alerts_page.py", title="Alerts"),
                st.Page(news / "stories_page.py", title="Stories"),
                st.Page(news / "outbox_page.py", title="Outbox and jobs"),
                st.Page(news / "companies_page.py", title="Companies"),
                st.Page(news / "sources_page.py", title="Sources"),
                st.Page(news / "laboratory_page.py", title="The laboratory"),
                st.Page(news / "shadow_page.py", title="A model in shadow"),
                st.Page(news / "headline_page.py", title="A headline"),
                st.Page(news / "settings_page.py", title="Settings"),
            ],
            "Recommender": [
                st.Page(shop / "recommender_page.py", title="A user"),
                st.Page(shop / "ranking_page.py", title="What decides"),
                st.Page(shop / "catalogue_map_page.py", title="Catalogue map"),
                st.Page(shop / "batches_page.py", title="Batch runs"),
            ],
        },
        # A sidebar folds away most of so many pages, and pages have widgets of their own there.
        position="top",
    ).run()


if __name__ == "__main__":
    main()
