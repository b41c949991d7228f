"""The training headlines a version keeps: of each head, told by the command and on the page."""

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from apps.news_monitor.explaining import NONE_KEPT, explain_headline
from apps.news_monitor.labelling import Labeller, headline
from apps.news_monitor.recipe import NO_PRECEDENTS, NewsRecipe
from shared.errors import ModelError
from shared.inference.precedents import FILE_NAME, SEPARATOR
from shared.registry import Registry
from shared.settings import Home
from shared.training.options import TrainOptions

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PAGE = Path(__file__).resolve().parents[3] / "apps" / "news_monitor" / "headline_page.py"
SENTIMENTS = {"negative": "loss fall bad", "positive": "profit rise good", "neutral": "news my cup"}
TOPICS = {"Banks": "bank money", "Shares": "shares pay", "Shops": "shoe tea"}
FILLER = "the a is was when will how late order card help please red blue".split()
ASKED = "bank loss shares fall"
HEADS = ("sentiment", "topics")


def table(path: Path, words: dict[str, str], several: bool) -> pd.DataFrame:
    """150 rows; one of five, where several topics are asked for, has two labels, one none."""
    rng = np.random.default_rng(int(several))
    names = list(words)
    rows = []
    for number in range(150):
        given = [names[number % 3]]
        if several and number % 5 == 0:
            given.append(names[(number + 1) % 3])
        if several and number % 5 == 1:
            given = []
        said = [word for name in given for word in words[name].split()]
        text = " ".join(rng.permutation([*said, *rng.choice(FILLER, 4, replace=False)]))
        rows.append((f"{text} https://t.co/x", SEPARATOR.join(given)))
    rows[0] = ("bank money shares pay, write to ann@example.com", rows[0][1])
    frame = pd.DataFrame(rows, columns=["text", "label"])
    frame.to_csv(path, index=False)
    return frame


@pytest.fixture(scope="module")
def home(triptych_here: Run, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """With the model news, as the command trains it."""
    folder = tmp_path_factory.mktemp("home")
    table(folder / "sentiment.csv", SENTIMENTS, several=False)
    table(folder / "topics.csv", TOPICS, several=True)
    done = triptych_here(
        "train", "news", "--sentiment", folder / "sentiment.csv", "--topics", folder / "topics.csv",
        "--name", "news", "--base", tiny_encoder, "--method", "frozen", "--threads", "1",
        home=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Home(folder)


@pytest.fixture(scope="module")
def labeller(home: Home) -> Labeller:
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve("news", app="news")
    return Labeller.load(version.path, home=home, threads=1)


@pytest.fixture(scope="module")
def older(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """With the same model, as one trained before headlines were kept."""
    root = tmp_path_factory.mktemp("older")
    shutil.copytree(home.cache, root / "cache")
    folder = root / "models" / "news" / "1"
    shutil.copytree(home.models / "news", folder.parent)
    manifest = json.loads((folder / "manifest.json").read_text())
    for head in HEADS:
        (folder / head / FILE_NAME).unlink()
        del manifest["files"][f"{head}/{FILE_NAME}"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Home(root)


def test_each_head_keeps_the_rows_it_learned_from(home: Home, labeller: Labeller) -> None:
    assert set(labeller.precedents) == set(HEADS)
    for head in HEADS:
        rows = pd.read_csv(home.root / f"{head}.csv", keep_default_na=False)
        kept = labeller.precedents[head]
        said = [headline(text).replace("ann@example.com", "<email>") for text in rows["text"]]
        assert set(zip(kept.texts, kept.labels, strict=True)) == set(
            zip(said, rows["label"], strict=True)
        )
        assert not any("https" in text for text in kept.texts)
    report = home.models / "news" / "1" / "report.json"
    assert NO_PRECEDENTS not in report.read_text()


def test_the_nearest_of_each_head_are_those_of_brute_force(labeller: Labeller) -> None:
    whys = explain_headline(labeller, f"{ASKED} https://t.co/y")
    assert [why.head for why in whys] == list(HEADS)
    classifiers = (labeller.sentiment, labeller.topic_classifier)
    for why, classifier in zip(whys, classifiers, strict=True):
        assert classifier is not None
        kept = labeller.precedents[why.head]
        views = classifier.dense.views
        features = classifier.embedder.features([*kept.texts, ASKED])
        parts = features.reshape(len(features), *views.centre.shape) - views.centre
        parts /= np.linalg.norm(parts, axis=2, keepdims=True)
        # All views weigh the same here: the cosine is the mean of theirs.
        cosines = (parts[:-1] * parts[-1]).sum(2).mean(1)
        cosines[[at for at, text in enumerate(kept.texts) if "<email>" in text]] = -1
        labels = dict(zip(kept.texts, kept.labels, strict=True))
        shown = [p for p in why.precedents if "<email>" not in p.text]
        assert len(why.precedents) == 5
        expected = np.sort(cosines)[::-1][: len(shown)]
        assert [p.similarity for p in shown] == pytest.approx(expected, abs=5e-3)
        for each in shown:
            assert cosines[kept.texts.index(each.text)] == pytest.approx(each.similarity, abs=5e-3)
            assert each.label == labels[each.text]
    assert {each.label for each in whys[0].explanations} == {"negative"}


def test_a_label_asked_for_is_explained_with_its_own_head(labeller: Labeller) -> None:
    both = explain_headline(labeller, ASKED)
    (why,) = explain_headline(labeller, ASKED, "Shops")
    assert (why.head, [each.label for each in why.explanations]) == ("topics", ["Shops"])
    assert why.precedents == both[1].precedents


def test_an_older_version_loads_and_keeps_none(older: Home, labeller: Labeller) -> None:
    before = Labeller.load(older.models / "news" / "1", home=older, threads=1)
    assert before.precedents == {}
    assert before.label([ASKED]) == labeller.label([ASKED])
    whys = explain_headline(before, ASKED)
    assert [why.precedents for why in whys] == [(), ()]
    assert [why.explanations for why in whys] == [
        why.explanations for why in explain_headline(labeller, ASKED)
    ]


def test_a_damaged_file_is_named(older: Home, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(older.models / "news" / "1", folder)
    (folder / "topics" / FILE_NAME).write_text('{"texts": ["a"], "labels": []}')
    with pytest.raises(ModelError) as caught:
        Labeller.load(folder, home=older, threads=1)
    assert str(caught.value) == (
        f"{folder / 'topics' / FILE_NAME}: 1 texts and 0 labels for 150 known vectors; train again"
    )


def test_the_command_prints_them(
    triptych_here: Run, home: Home, older: Home, labeller: Labeller
) -> None:
    done = triptych_here("explain", "news", ASKED, "--model", "news", home=home.root)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for why in explain_headline(labeller, ASKED):
        at = lines.index(f"Nearest training headlines for the {why.head}, by similarity:")
        assert lines[at + 1 : at + 6] == [
            f"  {p.similarity:.2f}  {', '.join(p.label.split('|')) or 'none'}: {p.text}"
            for p in why.precedents
        ]
    assert NONE_KEPT not in lines
    done = triptych_here("explain", "news", ASKED, "--model", "news", "--json", home=home.root)
    said = json.loads(done.stdout)
    assert list(said["precedents"]) == list(HEADS)
    assert [list(each) for each in said["precedents"]["topics"]] == [
        ["text", "label", "similarity"]
    ] * 5
    done = triptych_here("explain", "news", ASKED, "--model", "news", home=older.root)
    assert done.returncode == 0, done.stderr
    assert "Nearest training" not in done.stdout
    assert done.stdout.splitlines()[-1] == NONE_KEPT


def test_the_page_shows_them_beside_the_words(
    home: Home, older: Home, labeller: Labeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIPTYCH_HOME", str(home.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    page.text_input[0].set_value(ASKED).run()
    assert not page.exception
    for why, shown in zip(explain_headline(labeller, ASKED), page.dataframe, strict=True):
        assert list(shown.value.columns) == ["headline", why.head, "similarity"]
        assert shown.value["headline"].tolist() == [p.text for p in why.precedents]
        assert shown.value[why.head].tolist() == [p.in_words for p in why.precedents]
    captions = [caption.value for caption in page.caption]
    assert captions[0].startswith("What spoke for `negative` (green)")
    assert captions[1] == (
        "The training headlines for the sentiment that are most like it; personal data, dates and "
        "amounts are masked:"
    )
    assert NONE_KEPT not in captions
    st.cache_data.clear()  # of the version of this name
    st.cache_resource.clear()
    monkeypatch.setenv("TRIPTYCH_HOME", str(older.root))
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not page.exception
    assert len(page.dataframe) == 0
    assert page.caption[-1].value == NONE_KEPT


def test_with_a_finetuned_encoder_rows_held_back_from_it_are_not_kept(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    rows = table(tmp_path / "sentiment.csv", SENTIMENTS, several=False)
    home = Home(tmp_path / "home")
    NewsRecipe([tmp_path / "sentiment.csv"]).fit(
        tmp_path / "model",
        options=TrainOptions(
            method="full", base=str(tiny_encoder), threads=1, epochs=4, learning_rate=1e-3
        ),
        home=home,
        say=lambda _: None,
    )
    labeller = Labeller.load(tmp_path / "model", home=home, threads=1)
    kept = labeller.precedents["sentiment"]
    classifier = labeller.sentiment
    assert len(kept.texts) <= len(classifier.dense.known)
    assert set(kept.texts) <= {
        headline(text).replace("ann@example.com", "<email>") for text in rows["text"]
    }
    assert classifier.finetuned is not None
    assert classifier.tuned is not None
    assert len(kept.texts) < len(rows)
    # Row i belongs to row i of the fine-tuned encoder's vectors too.
    plain = [at for at, text in enumerate(kept.texts) if "<email>" not in text]
    features = classifier.finetuned.features([kept.texts[at] for at in plain])
    cosines = (classifier.tuned.views(features) * classifier.tuned.known[plain]).sum(1)
    assert cosines.min() > 0.98
