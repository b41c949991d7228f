"""Templates: reading, rendering, and that no brace ever reaches a customer."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.chatbot.answers import (
    Answer,
    AnswerBook,
    lint,
    names_of,
    read_answers,
    readable,
    render,
    say,
    slots_of,
)
from shared.errors import DataError, ModelError


def test_a_template_is_filled_with_the_slots_it_names() -> None:
    rendered = render("Order {order_id} left on {date}.", {"order_id": "A-17", "date": "3 May"})
    assert rendered.text == "Order A-17 left on 3 May."
    assert rendered.missing is None


def test_the_first_unknown_slot_is_asked_for_and_nothing_is_said() -> None:
    rendered = render("Order {order_id} left on {date}.", {"date": "3 May"})
    assert (rendered.text, rendered.missing) == (None, "order_id")


def test_an_optional_part_with_an_unknown_slot_vanishes() -> None:
    template = "We have sent it. [[It arrives on {date}.]] Thank you."
    assert render(template, {}).text == "We have sent it. Thank you."
    assert render(template, {"date": "3 May"}).text == (
        "We have sent it. It arrives on 3 May. Thank you."
    )


def test_a_value_is_never_read_as_a_template_again() -> None:
    assert render("Hello {customer_name}.", {"customer_name": "{order_id}"}).text == (
        "Hello {order_id}."
    )


def test_the_first_variant_with_all_its_slots_is_said() -> None:
    variants = ["Order {order_id} is late.", "Your order is late."]
    assert say(variants, {"order_id": "7"}).text == "Order 7 is late."
    assert say(variants, {}).text == "Your order is late."
    assert say(variants[:1], {}).missing == "order_id"


def test_slots_of_a_template_are_those_outside_its_optional_parts() -> None:
    assert slots_of("{a} [[{b}]] {c} {a}") == ("a", "c")


@given(st.text(alphabet="ab {}[]_", max_size=30), st.sampled_from([{}, {"a": "1"}, {"b": "2"}]))
def test_what_lint_accepts_renders_without_a_brace_or_asks(
    template: str, slots: dict[str, str]
) -> None:
    try:
        lint(template, "here")
    except DataError:
        return
    text = render(template, slots).text
    assert text is None or not set("{}") & set(text)


def test_a_stray_brace_is_named_with_its_place() -> None:
    with pytest.raises(DataError) as caught:
        lint("Dear {Customer Name}, hello", "answers.yml, answer 3")
    assert str(caught.value) == (
        "answers.yml, answer 3: the template 'Dear {Customer Name}, hello' has a stray '{'; slots "
        "are written {order_id}: small letters, digits and _, optional parts [[like this]]"
    )


def test_labels_become_titles_a_customer_can_read() -> None:
    assert readable("card_not-working") == "Card not working"


def test_answers_without_a_label_are_named_by_their_first_words_and_stay_apart() -> None:
    long = "You can pay by card or transfer in the app today"
    names = names_of([long, f"{long} and tomorrow", long])
    assert names == {
        long: "you-can-pay-by-card-or-transfer",
        f"{long} and tomorrow": "you-can-pay-by-card-or-transfer-2",
    }


def test_rows_of_one_label_are_variants_of_one_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(
        "answer,label\nWe open at nine.,opening_hours\nFrom nine on.,opening_hours\n"
        "我们九点开门。,opening_hours\nWe do not ship to the moon.,\n",
        encoding="utf-8",
    )
    book = read_answers(path, {})
    assert book.by_label["opening_hours"] == Answer(
        "opening_hours",
        {"en": "Opening hours"},
        {"en": ("We open at nine.", "From nine on."), "zh": ("我们九点开门。",)},
    )
    assert book.by_label["opening_hours"].template("zh") == "我们九点开门。"
    assert book.by_label["opening_hours"].template("fr") == "We open at nine."
    assert [a.label for a in book.beyond(["opening_hours"])] == ["we-do-not-ship-to-the-moon"]


def test_yaml_answers_have_titles_and_languages(tmp_path: Path) -> None:
    path = tmp_path / "answers.yml"
    path.write_text(
        "answers:\n"
        "  - label: refund\n    title: Refunds\n    title_zh: 退款\n"
        "    texts: {en: [Within five days.], zh: 五天内。}\n"
        "  - text: Nothing else.\n",
        encoding="utf-8",
    )
    book = read_answers(path, {})
    assert book.title("refund") == "Refunds"
    assert book.title("refund", "zh") == "退款"
    assert book.by_label["refund"].template("zh") == "五天内。"
    assert len(book.answers) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("answers: 3\n", "expected a list under `answers:`, each with label and texts"),
        ("answers:\n  - label: x\n", "answer 1 has neither `texts` nor `text`"),
        ("answers: []\n", "there is no answer in it"),
    ],
)
def test_yaml_that_is_no_answer_file_says_what_is_expected(
    tmp_path: Path, content: str, message: str
) -> None:
    path = tmp_path / "answers.yml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_answers(path, {})
    assert str(caught.value) == f"{path}: {message}"


def test_a_book_survives_saving(tmp_path: Path) -> None:
    book = AnswerBook((Answer("a", {"en": "A"}, {"en": ("one", "two"), "zh": ("三",)}),))
    book.save(tmp_path / "answers.json")
    assert AnswerBook.load(tmp_path / "answers.json") == book


def test_a_broken_book_is_a_model_error(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text("[{]")
    with pytest.raises(ModelError, match="not a readable answer file"):
        AnswerBook.load(path)
