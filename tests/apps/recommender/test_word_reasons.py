"""What a word did for an item's score: by hand where it is known, by deletion where it is not."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from apps.recommender.auditing import open_encoder
from apps.recommender.bundle import Bundle, EncoderNote
from apps.recommender.catalog import Catalog
from apps.recommender.features import FUSED
from apps.recommender.interactions import Interactions
from apps.recommender.listing import ask, describe_users
from apps.recommender.neighbours import co_occurrence, worded_alike
from apps.recommender.popularity import item_clock
from apps.recommender.ranking import Ranking
from apps.recommender.recommender import Recommender
from apps.recommender.retrieval import CHANNELS, alike_in_meaning, build_channels, row_index
from apps.recommender.sequence_model import new_model
from apps.recommender.settings import (
    ProfileSettings,
    RankingSettings,
    RecommenderSettings,
    RuleSettings,
)
from apps.recommender.vectors import Whitening
from apps.recommender.word_reasons import TEXT_CHANNELS, text_scores, word_reasons
from pipelines.cli import app
from shared.errors import DataError
from shared.evaluation.explain import Method
from shared.evaluation.faithfulness import strongest_first
from shared.evaluation.report import Report
from shared.evaluation.text_units import Segmented, segment
from shared.inference.runtime import Embedder
from shared.settings import Home

Log = Callable[..., Interactions]
AXES = ("red", "tea", "cup", "pot", "lid")
HEAVY = 1000.0
WEIGHT = {"sequence": 0.5, "meaning": 2.0}


class WordCounts:
    """A text's vector is how often it has each word of AXES, and, unless it is marked "old", HEAVY
    in one direction more: there the others hardly lengthen it, and a cosine with an old text is the
    sum over the words they share, in units of 1 / HEAVY."""

    dim = len(AXES) + 1
    fingerprint = "by-hand"

    def encode(self, texts: Sequence[str], *, normalised: bool = True) -> NDArray[np.float32]:
        assert not normalised
        return self.features(texts)

    def features(self, texts: Sequence[str]) -> NDArray[np.float32]:
        words = [text.split() for text in texts]
        rows = [[*map(w.count, AXES), 0.0 if "old" in w else HEAVY] for w in words]
        return np.array(rows, np.float32).reshape(-1, self.dim)


def by_hand(texts: Sequence[str], log: Interactions, neighbours: int = 200) -> Recommender:
    """Untrained: the sequence model is the mean of the history, the whitening changes nothing."""
    settings = RecommenderSettings(
        profile=ProfileSettings(decay=0.5), ranking=RankingSettings(neighbours=neighbours)
    )
    whitening = Whitening(
        np.zeros(WordCounts.dim, np.float32), np.eye(WordCounts.dim, dtype=np.float32)
    )
    meaning = whitening(WordCounts().features(texts))
    meaning[[not text for text in texts]] = 0.0
    channels = build_channels(
        log,
        settings,
        meaning=meaning,
        sequence=new_model(meaning, settings.sequence, decay=0.5, seed=1),
        together=co_occurrence(log, neighbours=9, shrink=1.0),
        words=worded_alike(texts, neighbours=neighbours),
        meant=alike_in_meaning(row_index(meaning, WordCounts.fingerprint), meaning),
        clock=item_clock(log),
        fingerprint=WordCounts.fingerprint,
    )
    ids = [f"item{row}" for row in range(len(texts))]
    frame = pd.DataFrame({"item_id": ids, "title": ids, "text": list(texts)})
    weights = np.array([WEIGHT.get(name, 0.0) for name in FUSED])
    ranking = Ranking((), weights, None, {})
    note = EncoderNote("none", "", WordCounts.fingerprint)
    bundle = Bundle(Catalog(frame), channels, ranking, whitening, note)
    return Recommender(bundle, RuleSettings(), "by-hand")


@pytest.fixture
def tea_shop(log_of: Log) -> Recommender:
    """ann had old red, then old tea; bob has had all that she may be shown."""
    texts = ("red old", "tea old", "red tea cup", "cup", "")
    return by_hand(texts, log_of({"ann": [0, 1], "bob": [2, 3, 4]}, 5))


@pytest.fixture(scope="module")
def encoder(
    trained: tuple[Path, Report], shop: Recommender, tmp_path_factory: pytest.TempPathFactory
) -> Embedder:
    return open_encoder(shop.bundle.encoder, trained[0], Home(tmp_path_factory.mktemp("home")))


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_where_the_score_is_a_sum_over_words_each_gets_its_own_term(
    method: Method, tea_shop: Recommender
) -> None:
    """ann's profile is 1/3 red, 2/3 tea, so that item2 has the cosine 1 / HEAVY and the other two
    candidates 0: in deviations, √2 / 3, the profile's share of a word is worth 3 / √2 of it."""
    why = word_reasons(tea_shop, WordCounts(), "ann", "item2", method=method)
    assert [word.unit.text for word in why.words] == ["red", "tea", "cup"]
    for name, weight in WEIGHT.items():
        parts = [word.scorers[name] for word in why.words]
        assert parts == pytest.approx([weight / 2**0.5, weight * 2**0.5, 0.0], rel=1e-4, abs=1e-4)
        assert why.written[name] == pytest.approx(weight * 3 / 2**0.5, rel=1e-4)
        assert why.channels[name] == pytest.approx(weight * 2**0.5, rel=1e-4)  # above the mean
    assert all(word.scorers["words"] == 0 for word in why.words)  # its weight is 0
    assert why.by_text == pytest.approx(why.total) == pytest.approx(2.5 * 2**0.5, rel=1e-4)
    assert why.kind == "fusion"


def test_cosines_with_fewer_words_by_hand(tea_shop: Recommender) -> None:
    """Marked old, the texts have no heavy direction: words that ann never had only dilute."""
    asked = ask(tea_shop.bundle.channels, np.array([0]))
    texts = ("tea cup old", "tea old", "cup old", "")
    found = text_scores(tea_shop, WordCounts(), asked, 2, texts)
    assert found["meaning"] == pytest.approx([2 / 3 / 2**0.5, 2 / 3, 0, 0])
    # The sequence model's mean has unit length, (1, 2) / √5.
    assert found["sequence"] == pytest.approx([2 / 10**0.5, 2 / 5**0.5, 0, 0])


def test_an_id_offset_stays_when_the_text_goes(tea_shop: Recommender) -> None:
    model = tea_shop.bundle.channels.sequence
    model.offsets.data[2, AXES.index("tea")] = 3.0
    asked = ask(tea_shop.bundle.channels, np.array([0]))
    found = text_scores(tea_shop, WordCounts(), asked, 2, ["", "cup old"])
    tea = 2 / 5**0.5
    assert found["sequence"] == pytest.approx([tea, tea * 3 / 10**0.5])
    assert found["meaning"].tolist() == [0, 0]


def test_the_words_table_by_hand(log_of: Log) -> None:
    """Of three texts two have "tea", one "pot" and one "tea pot": idf = ln(4 / (1 + n)) + 1."""
    shop = by_hand(("tea", "tea pot", "cup"), log_of({"ann": [0], "bob": [1, 2]}, 3))
    asked = ask(shop.bundle.channels, np.array([0]))
    found = text_scores(shop, WordCounts(), asked, 1, ["tea pot", "tea", "pot", ""])["words"]
    both, one = np.log(4 / 3) + 1, np.log(2) + 1
    assert found == pytest.approx([both / (both**2 + 2 * one**2) ** 0.5, 1, 0, 0])


def test_a_text_less_alike_than_the_nearest_neighbours_kept_scores_nothing(log_of: Log) -> None:
    texts = ("tea pot", "tea pot lid", "tea cup")
    shop = by_hand(texts, log_of({"ann": [0], "bob": [1, 2]}, 3), neighbours=1)
    asked = ask(shop.bundle.channels, np.array([0]))
    assert text_scores(shop, WordCounts(), asked, 2, texts[::-1])["words"] == pytest.approx(
        [0, shop.bundle.channels.words[0, 1], 1]
    )
    # The table has no item near to itself.
    assert text_scores(shop, WordCounts(), asked, 0, ["tea pot"])["words"].tolist() == [0]


def test_the_whole_text_scores_what_the_channels_say(shop: Recommender, encoder: Embedder) -> None:
    channels = shop.bundle.channels
    for user in (0, 1, 2):
        asked = ask(channels, np.array([user]))
        scorers = channels.scorers(asked)
        for item in (0, 11, shop.item_rows["cold"]):
            text = shop.bundle.catalog.texts[item]
            found = text_scores(shop, encoder, asked, item, [text])
            assert tuple(found) == TEXT_CHANNELS
            for name, score in found.items():
                expected = scorers[name].pairs(np.array([0]), np.array([item]))
                assert score == pytest.approx(expected, abs=1e-4)


def test_the_channels_parts_sum_to_the_score_of_the_fusion(
    shop: Recommender, encoder: Embedder
) -> None:
    user = shop.users[3]
    for include_seen in (False, True):
        known = describe_users(
            shop.bundle.channels, shop.facts, np.array([3]), include_seen=include_seen
        )
        fused = shop.bundle.ranking.fused(known.features)
        for item in shop.recommend([user], 3, include_seen)["item_id"]:
            why = word_reasons(shop, encoder, user, item, include_seen=include_seen)
            (row,) = np.flatnonzero(known.found.item == shop.item_rows[item])
            # The flag of a new item, and how popular it is of late.
            beside = slice(2 * len(CHANNELS), None)
            told = known.features.fused[row, beside] @ shop.bundle.ranking.weights[beside]
            assert tuple(why.channels) == CHANNELS
            assert why.total + told == pytest.approx(float(fused[row]), abs=1e-4)
            assert why.kind == shop.bundle.ranking.kind


def test_shapley_parts_sum_to_what_the_text_is_worth(shop: Recommender, encoder: Embedder) -> None:
    user = shop.users[0]
    item = shop.recommend([user], 1)["item_id"].iloc[0]
    why = word_reasons(shop, encoder, user, item, method="shapley")
    assert " ".join(word.unit.text for word in why.words) == why.text
    for name in TEXT_CHANNELS:
        parts = sum(word.scorers[name] for word in why.words)
        assert parts == pytest.approx(why.written[name], abs=1e-3)


def test_without_its_strongest_words_first_an_item_falls_further_than_in_random_order(
    shop: Recommender, encoder: Embedder
) -> None:
    """Each channel's mean score on the way from the whole text to none, 12 users, ten orders."""
    rng = np.random.default_rng(5)
    gains: dict[str, list[float]] = {name: [] for name in TEXT_CHANNELS}
    for row, user in enumerate(shop.users[:12]):
        item = shop.recommend([user], 1)["item_id"].iloc[0]
        why = word_reasons(shop, encoder, user, item)
        text, asked = segment(why.text), ask(shop.bundle.channels, np.array([row]))
        random = [rng.permutation(len(why.words)) for _ in range(10)]
        for name, gain in gains.items():
            parts = np.array([word.scorers[name] for word in why.words])
            ways = [left for o in (strongest_first(parts), *random) for left in shortened(text, o)]
            found = text_scores(shop, encoder, asked, shop.item_rows[item], ways)[name]
            mean = found.reshape(11, -1).mean(1)
            gain.append(mean[1:].mean() - mean[0])
    for name, gain in gains.items():
        assert np.mean(gain) > 2 * np.std(gain) / len(gain) ** 0.5, name


def shortened(text: Segmented, order: NDArray[np.int64]) -> list[str]:
    """The text without the first 0, 1, …, all words of the order."""
    rank = np.argsort(order)
    return [text.keeping(rank >= gone) for gone in range(len(order) + 1)]


def test_words_after_the_limit_are_counted_as_untried(log_of: Log) -> None:
    long = " ".join(["red", "tea"] * 33)
    shop = by_hand(("tea old", long, "cup"), log_of({"ann": [0], "bob": [1, 2]}, 3))
    why = word_reasons(shop, WordCounts(), "ann", "item1")
    assert (len(why.words), why.untried) == (66, 2)
    assert all(word.total == 0 for word in why.words[64:])


@pytest.mark.parametrize(
    ("user", "item", "said"),
    [
        ("ann", "item4", "item 'item4' has no text in the catalogue: what reads texts knows "
         "nothing of it"),
        ("eve", "item2", "user 'eve' has no history: what is listed is popular, whatever its text "
         "says"),
        ("ann", "item1", "item 'item1' is not among the 3 candidates of user 'ann': no channel "
         "proposes it, or the user may not be shown it"),
        ("ann", "item9", "item 'item9' is not in the catalogue (5 items, first: item0, item1, "
         "item2)"),
    ],
)  # fmt: skip
def test_where_there_is_nothing_to_explain_it_says_why(
    user: str, item: str, said: str, tea_shop: Recommender
) -> None:
    with pytest.raises(DataError) as caught:
        word_reasons(tea_shop, WordCounts(), user, item)
    assert str(caught.value) == said


def test_the_command_prints_a_bar_for_each_word_and_the_channels(
    published: Home, shop: Recommender
) -> None:
    item = shop.recommend(["customer003"], 1)["item_id"].iloc[0]
    command = ["explain", "recommender", "--model", "shop", "--home", str(published.root)]
    asked = [*command, "--user", "customer003", "--item", item]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    words = shop.bundle.catalog.texts[shop.item_rows[item]].split()
    assert lines[0].startswith(f"{item} for customer003: ")
    assert [line.split()[0] for line in lines[1:]] == [*words, *CHANNELS]
    found = json.loads(CliRunner().invoke(app, [*asked, "--json"]).output)["reasons"]
    assert [word["unit"]["text"] for word in found["words"]] == words
    assert set(found["written"]) == set(TEXT_CHANNELS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("recommender", "a text"), "takes --user and --item, and nothing else"),
        (("recommender", "--user", "ann"), "takes --user and --item, and nothing else"),
        (("chatbot",), "takes a TEXT, and neither --user nor --item"),
        (("news", "a text", "--item", "x"), "takes a TEXT, and neither --user nor --item"),
    ],
)
def test_the_command_refuses_what_the_application_has_no_use_for(
    arguments: tuple[str, ...], said: str
) -> None:
    done = CliRunner().invoke(app, ["explain", *arguments, "--model", "m"])
    assert done.exit_code == 2
    assert said in done.output
