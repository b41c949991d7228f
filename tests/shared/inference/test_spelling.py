"""Slips are mended to known words one slip away, and nothing else is touched."""

import random
import string
from pathlib import Path

import pytest

from shared.errors import ModelError
from shared.inference.spelling import FILE, Spelling

KNOWN = Spelling.of(
    ["I want to return the kettle", "where is the kettle", "refund the order", "refund my order"]
)


def one_slip_away(word: str) -> set[str]:
    """Every string one slip from the word, by trying all of them."""
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    return {
        *(a + b[1:] for a, b in cuts if b),
        *(a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1),
        *(a + c + b[1:] for a, b in cuts if b for c in string.ascii_lowercase),
        *(a + c + b for a, b in cuts for c in string.ascii_lowercase),
    } - {word}


def test_every_slip_in_a_known_word_is_mended_and_no_two_slips_are() -> None:
    known = Spelling.of(["kettle"])
    near = one_slip_away("kettle")
    assert {known.corrected(slip) for slip in near} == {"kettle"}
    draw = random.Random(3)
    farther = {slip for word in draw.sample(sorted(near), 12) for slip in one_slip_away(word)}
    for word in draw.sample(sorted(farther - near - {"kettle"}), 300):
        assert known.corrected(word) == word


def test_the_commoner_word_wins_and_swapped_letters_before_all() -> None:
    known = Spelling.of(["form", "form", "form", "from", "fork"])
    assert known.corrected("forn") == "form"
    assert known.corrected("frmo") == "from"
    assert Spelling.of(["trial", "trial", "trail"]).corrected("trila") == "trial"


@pytest.mark.parametrize(
    "text",
    [
        "Where is my ORDER?",  # known, in whatever case
        "ordr7 KETLE-9KETLE",  # parts of codes
        "wer is it",  # too short to tell
        "zebra crossing",  # near no known word
        "退款 refund 订单",
        "",
    ],
)
def test_what_is_known_short_strange_or_a_code_stays(text: str) -> None:
    expected = text.replace("KETLE-9", "kettle-9") if "KETLE-9" in text else text
    assert KNOWN.corrected(text) == expected


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    assert Spelling.load(tmp_path) is None
    KNOWN.save(tmp_path)
    read = Spelling.load(tmp_path)
    assert read is not None
    assert read.all_corrected(["wnat a kettel"]) == ["want a kettle"]
    (tmp_path / FILE).write_text("[1]")
    with pytest.raises(ModelError, match=r"spelling.json: not readable"):
        Spelling.load(tmp_path)
