"""The shaded text: whole, escaped, and as strong as the explanation says."""

import re
from html import unescape

from shared.evaluation.explain import Explanation, WordPart
from shared.evaluation.highlight import marked_html
from shared.evaluation.text_units import segment


def made(text: str, parts: list[float]) -> Explanation:
    units = segment(text).units
    words = tuple(WordPart(u, {"dense": p}) for u, p in zip(units, parts, strict=True))
    return Explanation(text, "x", 0.5, words, (), {})


def test_every_character_is_shown_and_none_is_markup() -> None:
    text = '<b>my  card</b> & 订单 "x" <script>'
    page = marked_html(made(text, [1.0] * len(segment(text).units)))
    assert unescape(re.sub(r"<[^>]*>", "", page)) == text
    assert set(re.findall(r"<(/?\w+)", page)) == {"p", "/p", "span", "/span"}


def test_the_strongest_word_is_the_darkest_and_weak_ones_are_plain() -> None:
    page = marked_html(made("a b c d", [2.0, -1.0, 0.01, 0.0]))
    shades = re.findall(r'title="([^"]+)" style="background:rgba\(([\d, ]+), ([\d.]+)\)', page)
    assert shades == [("+2.00", "31, 122, 77", "0.55"), ("-1.00", "179, 54, 43", "0.28")]


def test_a_text_that_nothing_speaks_for_is_plain() -> None:
    assert "<span" not in marked_html(made("a b", [0.0, 0.0]))
