"""A list of questions and answers, one each: what teaches, and what is judged on."""

import pytest

from apps.chatbot.answers import Answer, AnswerBook
from apps.chatbot.questions import alone, split_questions, with_answers
from shared.errors import DataError
from shared.training.examples import from_rows

NAMES = [f"label{at}" for at in range(20)]
ASKED = [f"how about {word}?" for word in "abcdefghijklmnopqrst"]
BOOK = AnswerBook(
    tuple(Answer(name, {"en": name}, {"en": (f"say {name} then",)}) for name in NAMES[:10])
)


def test_a_label_with_copies_of_one_question_is_alone_and_one_with_two_is_not() -> None:
    labels = [(name,) for name in NAMES]
    assert alone(from_rows(ASKED, labels, "single"))
    assert alone(from_rows([*ASKED, "How about A?"], [*labels, labels[0]], "single"))
    assert not alone(from_rows([*ASKED, "and something else"], [*labels, labels[0]], "single"))


def test_answers_teach_beside_questions_and_questions_alone_are_held_out() -> None:
    examples = from_rows(ASKED, [(name,) for name in NAMES], "single")
    rows = with_answers(examples, BOOK)
    assert rows.texts == (*ASKED, *(f"say {name} then" for name in sorted(NAMES[:10])))
    train, held = split_questions(rows, len(ASKED), fraction=0.2, seed=3)
    assert len(held) == 4
    assert len(train) == len(rows) - 4
    assert set(held.texts) <= set(ASKED)
    # Only a label with an answer can do without its question.
    assert set(held.single) <= set(NAMES[:10])
    assert train.names == examples.names


def test_without_answers_none_can_be_held_out() -> None:
    rows = with_answers(from_rows(ASKED, [(name,) for name in NAMES], "single"), AnswerBook())
    with pytest.raises(DataError, match="20 questions, one for each label: none can be held out"):
        split_questions(rows, len(ASKED), fraction=0.2, seed=3)
