"""Two labellers on the same headlines, row by row; must-pass headlines."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.news_monitor.comparison import cases, compare, race
from apps.news_monitor.labelling import Labeller
from apps.news_monitor.recipe import NewsRecipe, evaluate
from shared.evaluation.gate import GateLimits, judge
from shared.evaluation.leakage import FILE
from shared.evaluation.outcomes import load_outcomes
from shared.settings import Home
from shared.training.options import TrainOptions

WORDS = {"negative": ("loss", "fall"), "positive": ("profit", "rise"), "neutral": ("news", "order")}
TOPICS = {"Banks": "bank", "Shops": "shoe"}
FILLER = "the a my is was please help hello how will it red blue tea cup late when where".split()


def headlines(rows: int, seed: int) -> pd.DataFrame:
    """text, sentiment, topics: a word for each among random ones, no two texts alike."""
    rng = np.random.default_rng(seed)
    found: dict[str, tuple[str, str]] = {}
    while len(found) < rows:
        sentiment = list(WORDS)[len(found) % 3]
        topics = [name for name in TOPICS if rng.random() < 0.6]
        words = [*rng.choice(FILLER, 5, replace=False), *WORDS[sentiment]]
        words += [TOPICS[name] for name in topics]
        rng.shuffle(words)
        found.setdefault(" ".join(words), (sentiment, "|".join(topics)))
    rows_of = [(text, *labels) for text, labels in found.items()]
    return pd.DataFrame(rows_of, columns=["text", "sentiment", "topics"])


def silent(_: str) -> None:
    pass


def fit(folder: Path, table: pd.DataFrame, tiny_encoder: Path) -> Path:
    folder.mkdir()
    for name in ("sentiment", "topics"):
        table.rename(columns={name: "label"})[["text", "label"]].to_csv(
            folder / f"{name}.csv", index=False
        )
    NewsRecipe([folder / "sentiment.csv"], [folder / "topics.csv"]).fit(
        folder / "model",
        options=TrainOptions(method="frozen", base=str(tiny_encoder), threads=1),
        home=Home(folder),
        say=silent,
    )
    return folder / "model"


@pytest.fixture(scope="module")
def work(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """good/model; bad/model, which learned that half of the rising profits are neutral."""
    work = tmp_path_factory.mktemp("news_pair")
    table = headlines(240, seed=1)
    fit(work / "good", table, tiny_encoder)
    wrong = (table["sentiment"] == "positive") & (np.arange(240) % 2 == 0)
    fit(
        work / "bad",
        table.assign(sentiment=table["sentiment"].mask(wrong, "neutral")),
        tiny_encoder,
    )
    headlines(300, seed=2).to_csv(work / "fresh.csv", index=False)
    return work


def test_a_labeller_that_lost_a_sentiment_is_blocked_on_it_and_not_on_topics(work: Path) -> None:
    contest = compare(
        work / "bad" / "model", work / "good" / "model", work / "fresh.csv", {}, Home(work),
        say=silent,
    )  # fmt: skip
    verdict = judge(contest.pairs(), GateLimits())
    failed = {check.name for check in verdict.checks if check.status == "failed"}
    assert "sentiment, label positive" in failed
    assert not [name for name in failed if name.startswith("topics")]
    worse = [c for c in contest.changes() if c.task == "sentiment" and c.better is False]
    assert {(c.truth, c.production) for c in worse} == {("positive", "positive")}
    assert [each.task for each in contest.candidate] == ["sentiment", "topics"]


def test_several_topics_are_scored_by_f1_as_counted_by_hand(work: Path) -> None:
    contest = compare(
        work / "good" / "model", work / "good" / "model", work / "fresh.csv", {}, Home(work),
        say=silent,
    )  # fmt: skip
    topics = contest.candidate[1]
    for truth, said, score in zip(topics.labels, topics.decisions, topics.scores, strict=True):
        given = set() if said == "(none)" else set(said.split(" | "))
        both = len(given & set(truth))
        total = len(given) + len(truth)
        assert score == pytest.approx(1.0 if total == 0 else 2 * both / total)
    assert contest.changes() == ()


def test_two_labellers_are_timed_on_headlines_that_both_were_judged_on(work: Path) -> None:
    # The sentiments of half the profits differ, and with them these rows: the topics are alike.
    both = race(work / "bad" / "model", work / "good" / "model", Home(work))
    assert len(both.asked) == len(set(both.asked)) > 30
    assert set(both.asked) <= set(pd.read_csv(work / "good" / "topics.csv")["text"])
    serve = dict(zip(("bad", "good"), both.serve, strict=True))
    for name, label in serve.items():
        labeller = Labeller.load(work / name / "model", home=Home(work))
        assert label(both.asked[:20]) == labeller.label(both.asked[:20])


def test_must_pass_headlines_may_name_a_sentiment_or_topics(work: Path) -> None:
    table = work / "must.csv"
    table.write_text(
        "text,label\nthe bank loss fall,negative\nthe bank loss fall,Banks\n"
        "my bank shoe news order,Banks|Shops\nthe tea profit rise,negative\n"
    )
    found = cases(work / "good" / "model", table, Home(work), say=silent)
    assert [case.passed for case in found] == [True, True, True, False]
    assert found[3].given == "positive"


def test_evaluation_tells_training_rows_from_new_ones(work: Path) -> None:
    trained = pd.read_csv(work / "good" / "sentiment.csv")
    fresh = pd.read_csv(work / "fresh.csv").rename(columns={"sentiment": "label"})
    both = pd.concat([trained.iloc[:60], fresh[["text", "label"]]])
    both.to_csv(work / "mixed.csv", index=False)
    report = evaluate(work / "good" / "model", work / "mixed.csv", {}, Home(work), say=silent)
    clean = next(
        m for m in report.measures if m.name == "sentiment accuracy without training copies"
    )
    assert clean.n <= 300
    assert report.notes[0].startswith("sentiment: ")
    assert f"of these {len(both)} rows are copies (60)" in report.notes[0]


def test_a_version_from_before_signatures_says_that_it_does_not_know(
    work: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(work / "good" / "model", old)
    (old / "sentiment" / FILE).unlink()
    (old / "topics" / FILE).unlink()
    report = evaluate(old, work / "fresh.csv", {}, Home(work), say=silent)
    assert "not known" in report.notes[0]
    assert not [m for m in report.measures if m.name.endswith("without training copies")]


def test_outcomes_of_held_out_rows_are_kept_without_their_text(work: Path) -> None:
    sentiment, topics = load_outcomes(work / "good" / "model")
    assert (sentiment.task, topics.task) == ("sentiment", "topics")
    assert sentiment.confidence.shape == (len(sentiment), 1)
    assert topics.confidence.shape == (len(topics), 2)
    text = (work / "good" / "model" / "held_out.json").read_text()
    assert not any(word in text for word in ("profit", "shoe"))
