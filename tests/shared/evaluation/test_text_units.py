"""The units of a text: the lexical scorer's own n-grams, each where it stands in the original."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.evaluation.text_units import segment
from shared.inference.lexical import char_grams, fold, word_grams

AWKWARD = "aAé e\u0301ﬁ　Ａ１㍿㎏中文カｶﾞ한 \u200b\t\n.,?'ßİ¨httpswww:/"


@given(st.one_of(st.text(), st.text(alphabet=AWKWARD, max_size=30)))
def test_the_ngrams_are_those_of_the_lexical_scorer(text: str) -> None:
    found = segment(text)
    assert Counter(o.gram for o in found.words) == Counter(word_grams(fold(text)))
    assert Counter(o.gram for o in found.chars) == Counter(char_grams(fold(text)))


@given(st.one_of(st.text(), st.text(alphabet=AWKWARD, max_size=30)))
def test_units_are_apart_and_in_order_and_own_every_gram_whole(text: str) -> None:
    found = segment(text)
    at = 0
    for unit in found.units:
        assert at <= unit.start < unit.end
        assert text[unit.start : unit.end] == unit.text
        at = unit.end
    for occurrence in (*found.words, *found.chars):
        assert sum(share for _, share in occurrence.shares) == pytest.approx(1)


def test_words_keep_their_signs_and_chinese_goes_by_character() -> None:
    units = segment("Where's my 订单, please?").units
    assert [unit.text for unit in units] == ["Where's", "my", "订", "单", ",", "please?"]


def test_a_pair_of_words_belongs_to_both_by_length() -> None:
    found = {o.gram: o.shares for o in segment("lost my card").words}
    assert dict(found["my card"]) == pytest.approx({1: 2 / 6, 2: 4 / 6})
    assert found["lost"] == ((0, 1.0),)


def test_what_is_folded_together_is_one_unit() -> None:
    # ㍿ is folded to four characters, a web address to one token, and neither can be cut.
    assert [u.text for u in segment("㍿ hi").units] == ["㍿", "hi"]
    assert [u.text for u in segment("see https://a.example/中文 now").units] == [
        "see",
        "https://a.example/中文",
        "now",
    ]


def test_units_left_out_leave_the_rest_as_written() -> None:
    found = segment("Where is  my 订单?")
    assert found.keeping(np.array([True, False, True, True, False, True])) == "Where   my 订?"
    assert found.keeping(np.zeros(6, bool)) == ""
    assert found.keeping(np.ones(6, bool)) == found.text
