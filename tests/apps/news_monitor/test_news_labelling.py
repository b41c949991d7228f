"""Training on toy headlines, serving, judging; and every mistake in the tables."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.news_monitor.examples import sentiment_examples, topic_examples, topics_kind
from apps.news_monitor.labelling import (
    PREDICTION_COLUMNS,
    UNRELATED,
    Labeller,
    LabellerConfig,
    headline,
    read_config,
    write_config,
)
from apps.news_monitor.labels import LabelVectors, Worth
from apps.news_monitor.recipe import NewsRecipe, evaluate, negative_threshold
from shared.errors import DataError, ModelError
from shared.evaluation.report import Report
from shared.settings import Home
from shared.training.options import TrainOptions

BAD = ("loss", "fall", "late", "lost", "bad")
GOOD = ("profit", "rise", "good", "help", "please")
PLAIN = ("news", "my", "order", "card", "cup")
TOPICS = {"Banks": "bank money", "Shares": "shares news", "Shops": "shoe cup"}


@dataclass(frozen=True)
class Trained:
    folder: Path
    home: Home
    report: Report
    said: tuple[str, ...]


def toy_sentiment() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for label, words in (("0", BAD), ("1", GOOD), ("2", PLAIN)):
        for _ in range(50):
            chosen = rng.choice(words, 2)
            rest = rng.choice(["bank", "shares", "shoe", "tea", "blue", "red"], 2)
            rows.append((f"{rest[0]} {chosen[0]} {rest[1]} {chosen[1]}", label))
    return pd.DataFrame(rows, columns=["text", "label"])


def toy_topics(several: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    names = list(TOPICS)
    rows = []
    for number in range(150):
        chosen = [names[number % 3]]
        if several and number % 5 == 0:
            chosen.append(names[(number + 1) % 3])
        filler = rng.choice(["the", "a", "is", "was", "hello", "when"], 2)
        rows.append(
            (f"{filler[0]} {' '.join(TOPICS[c] for c in chosen)} {filler[1]}", "|".join(chosen))
        )
    return pd.DataFrame(rows, columns=["headline", "label"]).rename(columns={"headline": "text"})


@pytest.fixture(scope="module")
def trained(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    work = tmp_path_factory.mktemp("news")
    toy_sentiment().to_csv(work / "sentiment.csv", index=False)
    toy_topics().to_csv(work / "topics.csv", index=False)
    recipe = NewsRecipe(
        [work / "sentiment.csv"],
        [work / "topics.csv"],
        sentiment_labels={"0": "negative", "1": "positive", "2": "neutral"},
    )
    said: list[str] = []
    home = Home(work / "home")
    report = recipe.fit(
        work / "model",
        options=TrainOptions(method="frozen", base=str(tiny_encoder), threads=1),
        home=home,
        say=said.append,
    )
    return Trained(work / "model", home, report, tuple(said))


@pytest.fixture(scope="module")
def labeller(trained: Trained) -> Labeller:
    return Labeller.load(trained.folder, home=trained.home, threads=1, name="news@1")


def test_it_learns_toy_headlines(labeller: Labeller) -> None:
    labels = labeller.label(["bank loss shares fall", "good shoe profit", "my order news card"])
    assert [label.sentiment for label in labels] == ["negative", "positive", "neutral"]
    assert [label.negative for label in labels] == [True, False, False]
    for label in labels:
        assert label.p_negative + label.p_neutral + label.p_positive == pytest.approx(1, abs=1e-5)
        assert set(label.topic_scores) == set(TOPICS)
    both = labeller.label(["the bank money shares news a"])[0]
    assert set(both.topics) == {"Banks", "Shares"}


def test_both_heads_share_one_pass_of_the_encoder(
    labeller: Labeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = labeller.sentiment.embedder
    assert labeller.topic_classifier is not None
    assert labeller.topic_classifier.embedder is embedder
    passes = []
    features = embedder.features

    def counted(texts: list[str]) -> object:
        passes.append(len(texts))
        return features(texts)

    monkeypatch.setattr(embedder, "features", counted, raising=False)
    labeller.label(["bank loss", "good profit"])
    assert passes == [2]
    # And so do the vectors by which stories of one event are found.
    labels, vectors = labeller.label_with_vectors(["bank loss", "good &amp; profit", "my cup"])
    assert passes == [2, 3]
    monkeypatch.undo()
    texts = ["bank loss", "good & profit", "my cup"]
    np.testing.assert_allclose(vectors, embedder.encode(texts), atol=1e-6)
    assert labels == labeller.label(texts)


def test_the_model_tells_what_its_vectors_and_its_negative_are_worth(labeller: Labeller) -> None:
    assert isinstance(labeller, LabelVectors)
    assert labeller.encoder == labeller.config.base_fingerprint
    config = labeller.config
    assert labeller.worth == Worth(config.negative_recall, config.negative_false_rate)
    vectors = labeller.sentiment.embedder.encode(UNRELATED)
    pairs = [vectors[i] @ vectors[j] for i, j in combinations(range(len(UNRELATED)), 2)]
    assert labeller.unrelated == pytest.approx(np.mean(pairs), abs=1e-6)


def test_the_frame_has_the_columns_and_rows_of_the_contract(labeller: Labeller) -> None:
    texts = ["bank loss", "", "bank loss", "shoe &amp; cup https://t.co/x"]
    frame = labeller.predict_frame(texts)
    assert tuple(frame.columns) == PREDICTION_COLUMNS
    assert frame["text"].tolist() == texts
    assert frame.iloc[0].drop("text").tolist() == frame.iloc[2].drop("text").tolist()
    assert set(json.loads(frame["topic_scores"][0])) == set(TOPICS)
    assert labeller.predict_frame([]).empty


def test_batches_and_single_texts_agree(labeller: Labeller) -> None:
    texts = ["bank loss shares fall", "tea cup", "good profit for the bank money"]
    whole = labeller.label(texts)
    for text, label in zip(texts, whole, strict=True):
        (alone,) = labeller.label([text])
        assert alone.sentiment == label.sentiment
        assert alone.p_negative == pytest.approx(label.p_negative, abs=1e-4)


def test_the_report_names_both_heads_and_what_the_surges_need(trained: Trained) -> None:
    names = {measure.name for measure in trained.report.measures}
    assert {
        "sentiment accuracy",
        "sentiment macro F1",
        "topics macro F1",
        "negative stories found",
        "other stories counted as negative",
    } <= names
    assert {"TF-IDF + linear SVM", "frozen encoder + kernel least squares"} <= {
        baseline.name for baseline in trained.report.baselines
    }
    assert trained.report.app == "news"
    assert any("fitted again on all rows" in note for note in trained.report.notes)


def test_a_released_model_is_judged_on_other_tables(trained: Trained, tmp_path: Path) -> None:
    table = toy_topics().head(60)
    table["sentiment"] = "neutral"
    table.loc[:5, "sentiment"] = "negative"
    table.rename(columns={"label": "topics"}).to_csv(tmp_path / "both.csv", index=False)
    report = evaluate(trained.folder, tmp_path / "both.csv", {}, trained.home, say=lambda _: None)
    assert {m.name.split()[0] for m in report.measures} >= {"sentiment", "topics"}
    toy_topics().to_csv(tmp_path / "topics.csv", index=False)
    report = evaluate(trained.folder, tmp_path / "topics.csv", {}, trained.home, say=lambda _: None)
    assert [m.name for m in report.measures] == [
        "topics macro F1",
        "topics micro F1",
        "topics exact match",
    ]
    assert report.measures[0].value is not None
    assert report.measures[0].value > 0.9


def test_topics_the_model_never_heard_of_are_one_clear_line(
    trained: Trained, tmp_path: Path
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("text,label\nbank money,Weather\nshoe cup,Sport\n")
    with pytest.raises(DataError) as caught:
        evaluate(trained.folder, path, {}, trained.home, say=lambda _: None)
    assert str(caught.value) == (
        f"{path}: none of its topics (Sport, Weather, …) is known to this model "
        "(Banks, Shares, Shops, …)"
    )


def test_another_base_encoder_is_refused(trained: Trained, tmp_path: Path) -> None:
    config = read_config(trained.folder)
    changed = LabellerConfig(**{**config.__dict__, "base_sha256": "0" * 64})
    (tmp_path / "m").mkdir()
    write_config(tmp_path / "m", changed)
    with pytest.raises(ModelError, match="train again or restore that encoder"):
        Labeller.load(tmp_path / "m", home=trained.home)


def test_a_folder_that_is_no_model_is_one_clear_line(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"news\.json: not a readable news model"):
        Labeller.load(tmp_path, home=trained.home)


def test_the_fingerprint_follows_the_files(trained: Trained, labeller: Labeller) -> None:
    again = Labeller.load(trained.folder, home=trained.home, threads=1, name="other")
    assert again.fingerprint == labeller.fingerprint
    assert len(again.fingerprint) == 64


def test_the_threshold_lets_one_in_twenty_others_through() -> None:
    chances = np.concatenate([np.linspace(0, 0.8, 1000), np.full(100, 0.9)])
    negative = np.arange(1100) >= 1000
    limit = negative_threshold(chances, negative)
    assert limit == pytest.approx(0.6)  # held within its bounds
    low = negative_threshold(chances / 2, negative)
    assert (chances[~negative] / 2 >= low).mean() == pytest.approx(0.05, abs=0.002)
    assert negative_threshold(np.array([0.9]), np.array([True])) == 0.5


Read = Callable[[str], list[str]]


def home_of(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_sentiment_in_words_of_traders_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("text,label\na fall,Bearish\na rise,bullish\nnews,NEUTRAL\n")
    found = sentiment_examples(
        [path], mapping={}, spellings={}, home=home_of(tmp_path), say=lambda _: None
    )
    assert found.single == ("negative", "positive", "neutral")


@pytest.mark.parametrize(
    ("rows", "spellings", "message"),
    [
        (
            "a,7\n",
            {},
            "sentiment label '7' is not known; allowed: negative, neutral, positive, or map it, "
            "as in 7=negative",
        ),
        ("a,1\n", {"1": "good"}, "sentiment labels are mapped to 'good'; allowed: negative"),
        ("a,positive\nb,neutral\n", {}, "no example is labelled negative"),
    ],
)
def test_mistakes_in_sentiment_tables_are_named(
    rows: str, spellings: dict[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "s.csv"
    path.write_text("text,label\n" + rows)
    with pytest.raises(DataError) as caught:
        sentiment_examples(
            [path], mapping={}, spellings=spellings, home=home_of(tmp_path), say=lambda _: None
        )
    assert message in str(caught.value)


def test_topics_in_several_rows_or_one_cell_are_several_topics(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("title,topic\na,Oil\na,Gas\nb,Oil|Gas\nc,\n")
    found = topic_examples(
        [path],
        mapping={"text": "title", "label": "topic"},
        home=home_of(tmp_path),
        say=lambda _: None,
    )
    assert found.kind == "multi"
    assert dict(zip(found.texts, found.labels, strict=True)) == {
        "a": ("Oil", "Gas"),
        "b": ("Oil", "Gas"),
        "c": (),
    }


def test_one_topic_each_is_a_choice_also_with_a_slip() -> None:
    rows = [(f"text {n}", ("Oil",)) for n in range(300)]
    assert topics_kind([*rows, ("text 0", ("Gas",))]) == "single"
    assert topics_kind([*rows, *[(f"text {n}", ("Gas",)) for n in range(10)]]) == "multi"


def test_a_headline_is_read_without_addresses_and_entities() -> None:
    assert headline("Shoes &amp; cups  fall https://t.co/abc") == "Shoes & cups fall"
    assert headline("https://t.co/abc") == "https://t.co/abc"
