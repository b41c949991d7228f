"""A firm's lists in messages: what is found where, what is left alone, what is refused."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.lists import EntityLists
from apps.chatbot.entities.patterns import ValuePattern
from apps.chatbot.entities.spans import Message
from apps.chatbot.formats.kept import Kinds
from shared.errors import DataError
from shared.inference.spelling import Spelling

KINDS: Kinds = {
    "lookups": {
        "city": ("Berlin", "Köln", "Köln Mitte", "New York", "St. Pauli", "上海", "京"),
        "tool": ("Copper Kettle", "C++"),
        "brand": ("Berlin",),
    },
    "synonyms": {"Köln": ("Cologne", "CGN"), "上海": ("魔都",), "never": ("used",)},
    "regexes": {"zip": (r"\d{5}",), "code": (r"#[A-Z]{2}\d+",)},
}
EXAMPLES = ["i go from berlin to cologne", "a colony of ants", "the copper kettle", "in new york"]
FOUND = Entities(EntityLists(KINDS, Spelling.of(EXAMPLES)))


def found_in(text: str) -> list[tuple[str, str, str]]:
    """(name, value, as written), in their order."""
    return [(each.name, each.value, text[each.start : each.end]) for each in FOUND.find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from cologne to KÖLN  mitte", [
            ("city", "Köln", "cologne"), ("city", "Köln Mitte", "KÖLN  mitte"),
        ]),
        # The same value of two entities is both.
        ("BERLIN?", [("city", "Berlin", "BERLIN"), ("brand", "Berlin", "BERLIN")]),
        ("Berliner, newyork, C is no value", []),
        ("new-york; st. pauli and C++!", [
            ("city", "New York", "new-york"), ("city", "St. Pauli", "st. pauli"),
            ("tool", "C++", "C++"),
        ]),
        # Full width, an accent of its own, a character of no width.
        ("in ＣＧＮ, Ko\u0308ln or Ber\u200blin", [
            ("city", "Köln", "ＣＧＮ"), ("city", "Köln", "Ko\u0308ln"),
            ("city", "Berlin", "Ber\u200blin"), ("brand", "Berlin", "Ber\u200blin"),
        ]),
        # Without spaces; a single character only where it stands alone.
        ("我从魔都到上海，北京不去", [("city", "上海", "魔都"), ("city", "上海", "上海")]),
        ("去 京 吗", [("city", "京", "京")]),
        # Slips: in a long word, in a short one beside the rest of the value; no known word is one.
        ("to Colonge by colony", [("city", "Köln", "Colonge")]),
        ("my coper ketle, new yrok", [
            ("tool", "Copper Kettle", "coper ketle"), ("city", "New York", "new yrok"),
        ]),
        ("zip 10115 of 1234567, #kb12 and order KB-20418", [
            ("zip", "10115", "10115"), ("code", "#kb12", "#kb12"),
            ("order_id", "KB-20418", "KB-20418"),
        ]),
        # A listed value that is a part of a typed one is none.
        ("write to berlin@example.com", [("email", "berlin@example.com", "berlin@example.com")]),
        ("never used", []),
    ],
)  # fmt: skip
def test_values_are_found_where_they_stand(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert found_in(text) == expected


NAMES = st.text("abcd", min_size=2, max_size=3)


@settings(max_examples=60)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=6),
       st.lists(NAMES, max_size=12))  # fmt: skip
def test_the_longest_value_is_found_from_left_to_right(
    values: list[list[str]], message: list[str]
) -> None:
    """Against brute force over all values at each word."""
    lists = EntityLists({"lookups": {"thing": tuple(map(" ".join, values))}})
    expected, at = [], 0
    while at < len(message):
        fitting = [value for value in values if message[at : at + len(value)] == value]
        if longest := max(fitting, key=len, default=[]):
            expected.append(" ".join(longest))
        at += max(1, len(longest))
    text = " ".join(message)
    spans = lists.find(Message.of(text))
    assert [text[each.start : each.end] for each in spans] == expected


def test_a_slot_with_a_list_takes_nothing_else_and_names_the_nearest() -> None:
    assert FOUND.fill("city", "to cgn please") == "Köln"
    assert FOUND.fill("city", "Hamburg") is None
    assert FOUND.fill("zip", "somewhere") is None
    assert FOUND.fill("colour", "Blue.") == "Blue"
    assert FOUND.lists.nearest("city", "kolln")[:2] == ("Köln", "Köln Mitte")
    assert FOUND.lists.nearest("brand", "zzz") == ("Berlin",)
    assert FOUND.lists.nearest("zip", "1") == ()


@pytest.mark.parametrize(
    ("kinds", "complaint"),
    [
        ({"lookups": {"我": ("a",)}},
         "lookups, '我': no name for an entity: expected at most 100 characters with a Latin "
         "letter first, not beginning with our_"),
        ({"lookups": {"our_date": ("a",)}},
         "lookups, 'our_date': no name for an entity: expected at most 100 characters with a "
         "Latin letter first, not beginning with our_"),
        ({"synonyms": {"a": ("-",)}}, "synonyms, 'a': the value '-' has no word in it"),
        ({"lookups": {"city": ("x" * 201,)}},
         "lookups, 'city': a value of 201 characters; at most 200 are kept"),
        ({"regexes": {"zip": ("\\d*",)}},
         r"regexes, 'zip': '\\d*' matches an empty text: it would be found everywhere"),
        ({"regexes": {"zip": ("(a)\\1",)}},
         r"regexes, 'zip': '(a)\\1' cannot be matched in linear time (invalid escape sequence: "
         r"\1); write it without look-around and back-references"),
        ({"regexes": {"zip": ("a" * 301,)}},
         f"regexes, 'zip': '{'a' * 60}' has 301 characters; at most 300 are matched"),
        ({"regexes": {"zip": tuple(f"a{n}" for n in range(51))}},
         "51 regular expressions; at most 50 are matched"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_values_is_refused(kinds: Kinds, complaint: str) -> None:
    with pytest.raises(DataError) as caught:
        EntityLists(kinds)
    assert str(caught.value) == complaint


def test_no_pattern_keeps_it_busy() -> None:
    """Python's own expressions would not come back from the first of these."""
    start = time.process_time()
    for written in (r"(a+)+b", r"(\w+\s?)+;", r"(a|aa)+b", r"(a?){50}a{50}b"):
        assert list(ValuePattern(written).places("a" * 2_000)) == []
    assert time.process_time() - start < 1


def test_no_message_keeps_it_busy() -> None:
    start = time.process_time()
    for text in ("new " * 2_500, "上" * 10_000, "köln-" * 2_000, "\u0301" * 10_000, "0" * 10_000):
        FOUND.find(text)
    assert time.process_time() - start < 2
