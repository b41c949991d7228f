"""One normal form for a text, and a guess at its language."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.text import detect_language, normalise


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("ＡＢＣ　１２３，ok", "ABC 123,ok"),
        ("  two\n\tlines\r\n", "two lines"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("bell\x07 nul\x00", "bell nul"),
        ("ﬁne e\u0301", "fine é"),
        ("right\u202eleft", "rightleft"),
        ("half \ud83d pair", "half pair"),
        ("Case Stays", "Case Stays"),
        ("", ""),
    ],
)
def test_normal_form(text: str, normal: str) -> None:
    assert normalise(text) == normal


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


@given(st.text())
def test_nothing_that_cannot_be_printed_is_left(text: str) -> None:
    kinds = {unicodedata.category(character) for character in normalise(text)}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn"}
    assert "  " not in normalise(text)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my card?", "en"),
        ("I can’t log in", "en"),
        ("我的卡丢了", "zh"),
        ("iPhone坏了怎么办", "zh"),
        ("これは何ですか", "ja"),
        ("내 카드는 어디에 있나요", "ko"),
        ("Где моя карта?", "ru"),
        ("wo ist meine Karte", "de"),
        ("où est ma carte", "fr"),
        ("¿dónde está mi tarjeta?", "es"),
        ("dove è la mia carta", "it"),
        ("onde está o meu cartão", "pt"),
        ("waar is mijn kaart", "nl"),
        ("card lost", "und"),
        ("12345 !?", "und"),
        ("", "und"),
    ],
)
def test_language_by_script_and_function_words(text: str, language: str) -> None:
    assert detect_language(text) == language
