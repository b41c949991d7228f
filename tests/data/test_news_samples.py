"""The news sample is what its card promises, and its generator makes it again byte for byte."""

import gzip
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import feedparser
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples"
NEWS = SAMPLES / "news"
SENTIMENTS = {"negative", "neutral", "positive"}
TOPICS = {
    "Airlines",
    "Banks",
    "Central banks",
    "Commodities",
    "Currencies",
    "Cyber security",
    "Earnings",
    "Energy",
    "Legal and regulation",
    "Mergers",
    "Personnel",
    "Real estate",
    "Retail",
    "Technology",
}
WHOLE_TABLES = ("headlines.csv", "headlines_zh.csv")
# Publisher, format as feedparser names it, encoding.
FEEDS = {
    "kurszettel-latin1.xml": ("rss20", "iso-8859-1"),
    "ledger.atom": ("atom10", "utf-8"),
    "meridale.xml": ("rss20", "utf-8"),
    "quaymark.rdf": ("rss10", "utf-8"),
    "tickernest.xml": ("rss20", "utf-8"),
    "whelk.xml": ("rss20", "utf-8"),
}


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(NEWS / name, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def stream() -> pd.DataFrame:
    """Stream and truth in one frame, times parsed, in the file's order."""
    joined = table("stream.csv.gz").merge(table("stream_truth.csv"), on="url", how="left")
    for column in ("published_at", "written_at"):
        joined[column] = pd.to_datetime(joined[column], utc=True)
    return joined


def stories_of(stream: pd.DataFrame, topic: str) -> pd.DataFrame:
    """One row for each story of the topic: its first entry that is no reprint."""
    of_topic = stream[stream.topics.map(lambda topics: topic in topics.split("|"))]
    return of_topic[of_topic.copy_of == ""].drop_duplicates("story_id")


def generate(folder: Path, *options: str) -> None:
    command = [sys.executable, str(SAMPLES / "make_news.py"), "--output", str(folder), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def content(path: Path) -> bytes:
    """The bytes of a file; of a packed one those inside: packing depends on the zlib version."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def test_generator_makes_identical_files(tmp_path: Path) -> None:
    generate(tmp_path)
    made = {p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()}
    kept = {p.relative_to(NEWS) for p in NEWS.rglob("*") if p.is_file()} - {Path("README.md")}
    assert made == kept
    changed = [
        str(name) for name in sorted(kept) if content(tmp_path / name) != content(NEWS / name)
    ]
    assert changed == []


def test_another_seed_makes_other_headlines(tmp_path: Path) -> None:
    generate(tmp_path, "--seed", "5")
    other = pd.read_csv(tmp_path / "headlines.csv", dtype=str, keep_default_na=False)
    assert set(other.text) != set(table("headlines.csv").text)


def test_card_states_the_true_row_counts() -> None:
    card = (NEWS / "README.md").read_text(encoding="utf-8")
    promised = {
        name: int(rows.replace(",", ""))
        for name, rows in re.findall(r"^\| (\S+\.csv(?:\.gz)?) \| ([\d,]+) \|", card, re.M)
    }
    tables = [p.name for p in NEWS.iterdir() if ".csv" in p.name]
    assert promised == {name: len(table(name)) for name in tables}


def test_sizes_are_as_ordered() -> None:
    train, validation = len(table("sentiment.csv")), len(table("sentiment_validation.csv"))
    assert train >= 1_600
    assert 0.17 <= validation / train <= 0.25
    assert len(table("headlines_zh.csv")) >= 150
    assert 4_500 <= len(table("stream.csv.gz")) <= 6_000


@pytest.mark.parametrize("name", WHOLE_TABLES)
def test_every_topic_has_every_sentiment_and_no_other_label_occurs(name: str) -> None:
    headlines = table(name)
    assert set(headlines.sentiment) == SENTIMENTS
    topics = headlines.topics.str.split("|")
    assert topics.map(len).isin([1, 2]).all()
    exploded = headlines.assign(topic=topics).explode("topic")
    assert set(exploded.topic) == TOPICS
    counts = exploded.groupby(["topic", "sentiment"]).size()
    assert len(counts) == len(TOPICS) * len(SENTIMENTS)
    assert counts.min() >= (4 if name == "headlines_zh.csv" else 40)


@pytest.mark.parametrize("name", ["sentiment.csv", "topics.csv"])
def test_contract_files_hold_the_headlines_in_their_order(name: str) -> None:
    headlines, cut = table("headlines.csv"), table(name)
    assert list(cut.columns) == ["text", "label"]
    assert cut.text.tolist() == headlines.text.tolist()
    column = "sentiment" if name == "sentiment.csv" else "topics"
    assert cut.label.tolist() == headlines[column].tolist()


def test_validation_files_share_their_texts_and_cover_all_labels() -> None:
    sentiment, topics = table("sentiment_validation.csv"), table("topics_validation.csv")
    assert sentiment.text.tolist() == topics.text.tolist()
    assert set(sentiment.label) == SENTIMENTS
    assert set(topics.label.str.split("|").explode()) == TOPICS


@pytest.mark.parametrize("name", [*WHOLE_TABLES, "sentiment_validation.csv"])
def test_no_headline_is_empty_unfilled_or_repeated(name: str) -> None:
    texts = table(name).text
    assert texts.str.strip().ne("").all()
    assert not texts.str.contains(r"[<>{}\[\]]").any()
    assert texts.is_unique


def nearest(texts: pd.Series, to: pd.Series) -> float:
    """The highest cosine (character 3-5-grams, numbers masked) of any text to any other."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5))
    others = vectorizer.fit_transform(to.str.replace(r"\d+", "0", regex=True))
    own = vectorizer.transform(texts.str.replace(r"\d+", "0", regex=True))
    return float((own @ others.T).max())


def test_training_and_validation_share_no_headline_nor_a_near_duplicate() -> None:
    training, validation = table("sentiment.csv").text, table("sentiment_validation.csv").text
    assert set(training) & set(validation) == set()
    assert nearest(validation, training) < 0.8


def test_no_crisis_headline_nor_a_near_duplicate_was_trained_on(stream: pd.DataFrame) -> None:
    scripted = stream[~stream.crisis_id.isin(["", "feed-outage"]) & (stream.copy_of == "")]
    assert nearest(scripted.title, table("sentiment.csv").text) < 0.8


def test_a_linear_model_finds_sentiment_neither_easy_nor_hopeless() -> None:
    train, validation = table("sentiment.csv"), table("sentiment_validation.csv")
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = LinearSVC().fit(vectorizer.fit_transform(train.text), train.label)
    predicted = model.predict(vectorizer.transform(validation.text))
    assert 0.60 <= f1_score(validation.label, predicted, average="macro") <= 0.85


def test_a_linear_model_finds_topics_neither_easy_nor_hopeless() -> None:
    train, validation = table("topics.csv"), table("topics_validation.csv")
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    labels = MultiLabelBinarizer()
    wanted = labels.fit_transform(train.label.str.split("|"))
    model = OneVsRestClassifier(LinearSVC()).fit(vectorizer.fit_transform(train.text), wanted)
    scores = model.decision_function(vectorizer.transform(validation.text))
    # Every headline has a topic: the best one counts even when no score is above zero.
    predicted = (scores > 0) | (scores == scores.max(axis=1, keepdims=True))
    truth = labels.transform(validation.label.str.split("|"))
    assert 0.70 <= f1_score(truth, predicted, average="macro") <= 0.93


def test_stream_is_sorted_within_its_120_days_and_matches_its_truth(stream: pd.DataFrame) -> None:
    assert table("stream.csv.gz").url.tolist() == table("stream_truth.csv").url.tolist()
    assert stream.url.is_unique
    assert stream.published_at.is_monotonic_increasing
    start = pd.Timestamp("2025-01-06", tz="UTC")
    days = (stream.published_at - start).dt.days
    assert (days.min(), days.max(), days.nunique()) == (0, 119, 120)
    assert set(stream.sentiment) == SENTIMENTS
    assert set(stream.topics.str.split("|").explode()) == TOPICS
    assert stream.source.nunique() == 6


def test_weekends_and_nights_are_quieter(stream: pd.DataFrame) -> None:
    day = stream.published_at.dt.floor("D")
    a_day = day.value_counts()
    weekend = a_day.index.day_of_week >= 5
    assert 40 <= a_day[~weekend].mean() <= 60
    assert a_day[weekend].mean() < 0.5 * a_day[~weekend].mean()
    hour = stream.published_at.dt.hour
    assert (hour < 4).mean() < 0.5 * hour.between(6, 9).mean()


def test_reprints_are_marked_and_say_the_same(stream: pd.DataFrame) -> None:
    by_url = stream.set_index("url")
    copies = stream[stream.copy_of != ""]
    assert 0.15 <= len(copies) / len(stream) <= 0.35
    originals = by_url.loc[copies.copy_of]
    assert (originals.copy_of == "").all()
    for column in ("story_id", "sentiment", "topics"):
        assert copies[column].tolist() == originals[column].tolist()
    assert (copies.source.to_numpy() != originals.source.to_numpy()).all()
    assert (copies.written_at.to_numpy() > originals.written_at.to_numpy()).all()
    verbatim = copies.title.to_numpy() == originals.title.to_numpy()
    assert 0.4 <= verbatim.mean() <= 0.8


def test_some_stories_are_followed_up_in_other_words(stream: pd.DataFrame) -> None:
    ordinary = stream[(stream.copy_of == "") & (stream.crisis_id == "")]
    entries = ordinary.groupby("story_id").title.nunique()
    assert (entries > 1).sum() >= 100


def test_every_crisis_shows_in_the_share_of_negative_stories(stream: pd.DataFrame) -> None:
    crises = table("crises.csv")
    crises = crises[crises.kind == "crisis"]
    assert len(crises) >= 5
    for crisis in crises.to_dict("records"):
        stories = stories_of(stream, str(crisis["topic"]).split("|")[0])
        negative = stories.sentiment == "negative"
        inside = stories.published_at.between(
            pd.Timestamp(crisis["from"]), pd.Timestamp(crisis["to"]), inclusive="left"
        )
        usual = negative[stories.crisis_id == ""].mean()
        assert usual > 0.1, crisis["id"]
        assert negative[inside].mean() >= 2.5 * usual, crisis["id"]
        assert negative[inside].sum() >= 8, crisis["id"]


def control(stream: pd.DataFrame, key: str) -> pd.DataFrame:
    return stream[stream.crisis_id == key]


def test_volume_controls_are_bursts_without_bad_news(stream: pd.DataFrame) -> None:
    for key, topic, days in (("trade-fair", "Technology", 4), ("merger-wave", "Mergers", 3)):
        entries = control(stream, key)
        assert "negative" not in set(entries.sentiment)
        usual = (stories_of(stream, topic).crisis_id == "").sum() / 120
        assert entries.story_id.nunique() / days > 2.5 * usual


def test_copied_story_is_one_story_printed_eleven_times(stream: pd.DataFrame) -> None:
    entries = control(stream, "copied-story")
    assert len(entries) == 11
    assert entries.story_id.nunique() == 1
    assert (entries.copy_of == "").sum() == 1
    assert entries.source.nunique() == 6


def test_outage_silences_two_feeds_and_then_delivers_everything(stream: pd.DataFrame) -> None:
    begin, end = pd.Timestamp("2025-04-01T09:00Z"), pd.Timestamp("2025-04-02T15:00Z")
    silent = {"Meridale Wire", "Quaymark Brief"}
    during = stream[stream.published_at.between(begin, end, inclusive="left")]
    assert silent & set(during.source) == set()
    held = control(stream, "feed-outage")
    assert set(held.source) == silent
    assert len(held) >= 15
    assert held.written_at.between(begin, end, inclusive="left").all()
    assert held.published_at.between(end, end + pd.Timedelta(hours=1)).all()
    others = stream[stream.crisis_id != "feed-outage"]
    assert (others.published_at == others.written_at).all()


def test_thin_weekend_is_quiet_and_its_bad_news_unrelated(stream: pd.DataFrame) -> None:
    day = stream.published_at.dt.floor("D")
    weekends = day[day.dt.day_of_week >= 5].value_counts()
    thin = weekends[weekends.index.isin(pd.to_datetime(["2025-04-19", "2025-04-20"], utc=True))]
    assert thin.mean() < weekends.mean()
    stories = control(stream, "thin-weekend")
    stories = stories[stories.copy_of == ""]
    assert set(stories.sentiment) == {"negative"}
    assert stories.topics.is_unique


def test_crises_table_counts_what_is_in_the_stream(stream: pd.DataFrame) -> None:
    for episode in table("crises.csv").to_dict("records"):
        entries = control(stream, str(episode["id"]))
        assert int(episode["items"]) == len(entries)
        assert int(episode["stories"]) == entries.story_id.nunique()
        assert episode["should_alert"] == ("yes" if episode["kind"] == "crisis" else "no")


def parsed(path: Path) -> Any:
    return feedparser.parse(path.read_bytes())


def test_six_feeds_parse_and_hold_the_newest_entries(stream: pd.DataFrame) -> None:
    assert {p.name for p in (NEWS / "feeds").iterdir()} == set(FEEDS)
    for name, (version, encoding) in FEEDS.items():
        feed = parsed(NEWS / "feeds" / name)
        assert not feed.bozo, name
        assert (feed.version, feed.encoding) == (version, encoding)
        assert 20 <= len(feed.entries) <= 40
        newest = stream[stream.source == feed.feed.title].tail(len(feed.entries))[::-1]
        assert [entry.link.split("?")[0] for entry in feed.entries] == newest.url.tolist()
        assert [entry.title for entry in feed.entries] == newest.title.tolist()


def test_latin1_feed_holds_letters_that_are_no_ascii() -> None:
    body = (NEWS / "feeds" / "kurszettel-latin1.xml").read_bytes()
    assert any(byte > 127 for byte in body)
    with pytest.raises(UnicodeDecodeError):
        body.decode("utf-8")


def test_feeds_end_moves_the_newest_entry_to_that_time(tmp_path: Path) -> None:
    generate(tmp_path, "--feeds-end", "2031-07-01T12:00:00+00:00")
    newest = [
        max(
            tuple(entry.get("published_parsed") or entry.updated_parsed)[:6]
            for entry in parsed(path).entries
        )
        for path in (tmp_path / "feeds").iterdir()
    ]
    assert max(newest) == (2031, 7, 1, 12, 0, 0)
