"""Audits and explanations as a user asks for them, of the three trained models."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("app", ["chatbot", "news"])
def test_a_model_is_audited_on_its_users_rows(
    app: str, triptych: Run, inputs: Path, tmp_path: Path
) -> None:
    table = inputs / {"chatbot": "questions.csv", "news": "sentiment.csv"}[app]
    page = tmp_path / "audit.html"
    done = triptych(
        "audit", app, "--model", app, "--input", table, "--rows", "12", "--output", page, "--json"
    )
    assert done.returncode == 0, done.stderr
    results = {result["name"]: result for result in json.loads(done.stdout)["results"]}
    # The normal form undoes full width before either model reads a text.
    assert (results["full width"]["failed"], results["full width"]["rows"]) == (0, 12)
    assert results["typos: of all kinds"]["rows"] == 12
    assert {result["area"] for result in results.values()} >= {"robustness", "bias"}
    assert "Does it matter who is meant?" in page.read_text(encoding="utf-8")


def test_a_recommender_is_audited_on_its_own_catalogue(triptych: Run) -> None:
    done = triptych("audit", "recommender", "--model", "recommender", "--rows", "10")
    assert done.returncode == 0, done.stderr
    assert "a seller of the other sex" in done.stdout
    page = Path(done.stdout.splitlines()[-1].removeprefix("Report: "))
    assert page.is_file()


def test_an_audit_without_rows_says_what_is_missing(triptych: Run, inputs: Path) -> None:
    done = triptych("audit", "news", "--model", "news")
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert done.stderr.startswith("triptych: --input is missing: a table `text[,label]`")
    done = triptych(
        "audit", "recommender", "--model", "recommender", "--input", inputs / "items.csv"
    )
    assert done.returncode == 1
    assert "leave out --input" in done.stderr


def test_a_message_is_explained_by_its_words_and_by_training_questions(triptych: Run) -> None:
    done = triptych("explain", "chatbot", "where is my parcel", "--model", "chatbot")
    assert done.returncode == 0, done.stderr
    assert "  parcel " in done.stdout
    assert "Nearest training questions, by similarity:" in done.stdout


def test_a_headline_is_explained_for_its_sentiment_and_topics(triptych: Run) -> None:
    text = "Airline files for bankruptcy after record loss"
    done = triptych("explain", "news", text, "--model", "news", "--json")
    assert done.returncode == 0, done.stderr
    first, *topics = json.loads(done.stdout)["explanations"]
    assert first["label"] in ("negative", "neutral", "positive")
    assert [word["unit"]["text"] for word in first["words"]] == text.split()
    for name, part in first["scorers"].items():
        assert sum(w["scorers"][name] for w in first["words"]) == pytest.approx(part, abs=1e-3)
    assert all(topic["label"] not in ("negative", "neutral", "positive") for topic in topics)
    asked = triptych("explain", "news", text, "--model", "news", "--label", "nonsense")
    assert asked.returncode == 1
    assert asked.stderr.startswith("triptych: label 'nonsense' is not known to this model")
