"""Perturbations: each changes what it says and nothing else, the same for the same seed."""

import doctest
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.evaluation import chinese_scripts
from shared.evaluation import perturbations as p
from shared.evaluation.swap_lists import COMPANIES, COUNTRIES, GENDERED, MEN, WOMEN
from shared.text import normalise

TEXT = "Where's my order 4021? It is late."


def after(perturb: p.Perturbation, text: str, seed: int = 1) -> str | None:
    pair = perturb(text, random.Random(seed))
    return None if pair is None else pair[1]


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(chinese_scripts).failed == 0


@pytest.mark.parametrize(
    ("kind", "shorter"), [("swap", 0), ("drop", 1), ("double", -1), ("key", 0)]
)
def test_one_short_word_gets_one_slip_of_the_kind(kind: str, shorter: int) -> None:
    found = {after(p.typos((kind,)), "card", seed) for seed in range(50)} - {None}
    expected = {
        "swap": {"acrd", "crad", "cadr"},
        "drop": {"ard", "crd", "cad", "car"},
        "double": {"ccard", "caard", "carrd", "cardd"},
        "key": {"xard", "vard", "csrd", "caed", "catd", "cars", "carf"},
    }[kind]
    assert found == expected
    assert {4 - len(word) for word in found if word} == {shorter}


@given(st.text(), st.integers(0, 100))
@example("²", 70)  # a digit, though no decimal one
def test_typos_are_seeded_and_leave_digits_alone(text: str, seed: int) -> None:
    pair = p.typos()(text, random.Random(seed))
    assert pair == p.typos()(text, random.Random(seed))
    if pair is not None:
        assert pair[0] == text
        assert [c for c in pair[1] if c.isdigit()] == [c for c in text if c.isdigit()]


@given(st.text())
def test_full_width_is_undone_by_the_normal_form(text: str) -> None:
    changed = after(p.full_width, text)
    assert changed is None or normalise(changed) == normalise(text)


def test_signs_go_or_change() -> None:
    assert after(p.without_signs, TEXT) == "Wheres my order 4021 It is late"
    ends = {after(p.final_sign, "late.", seed) for seed in range(20)}
    assert ends == {"late", "late!!", "late ..."}
    assert after(p.lower_case, "late") is None


def test_chinese_goes_to_the_other_script_and_english_stays() -> None:
    assert after(p.other_script, "订单还没到") == "訂單還沒到"
    assert after(p.other_script, "訂單還沒到") == "订单还没到"
    assert after(p.other_script, "my order") is None


def test_whole_words_are_replaced_alike_and_keep_their_capital() -> None:
    swap = p.replaced({"parcel": ("package",), "lost parcel": ("gone",), "订单": ("单子",)})
    assert after(swap, "Parcel! The parcels, a parcel") == "Package! The parcels, a package"
    assert after(swap, "my lost parcel") == "my gone"
    assert after(swap, "我的订单呢") == "我的单子呢"
    assert after(p.replaced({}), "anything") is None


def test_names_change_within_their_group() -> None:
    found = {after(p.swapped_within([("Ann", "Bob", "Cem")]), "Ann and Ann", s) for s in range(30)}
    assert found == {"Bob and Bob", "Cem and Cem"}


def test_a_frame_is_filled_twice() -> None:
    perturb = p.told_by("This is {who}. {text}", ("Ann",), ("Bob",))
    assert perturb("Hi {who}", random.Random(1)) == (
        "This is Ann. Hi {who}",
        "This is Bob. Hi {who}",
    )


def test_a_frame_is_in_the_language_of_the_text() -> None:
    english = p.told_by("I am {who}. {text}", ("Ann",), ("Bob",))
    chinese = p.told_by("我是{who}。{text}", ("王芳",), ("王伟",))
    perturb = p.by_language(chinese, english)
    assert after(perturb, "where is it") == "I am Bob. where is it"
    assert after(perturb, "订单在哪里") == "我是王伟。订单在哪里"


def test_what_already_denies_is_not_negated() -> None:
    perturb = p.negated([(r"\bi want\b", "I do not want")])
    assert after(perturb, "I want to pay, I want it") == "I do not want to pay, I want it"
    assert after(perturb, "I want it, not that") is None
    assert after(perturb, "hello") is None


def test_the_swap_lists_hold_no_entry_twice() -> None:
    for entries in (WOMEN, MEN, COUNTRIES, COMPANIES):
        assert len(set(entries)) == len(entries)
    assert not set(WOMEN) & set(MEN)
    for word, others in GENDERED.items():
        assert word not in {other.lower() for other in others}
