"""A bot's examples as tables hold them: `text,label`, or `question,answer`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from apps.chatbot.answers import AnswerBook, book_of_pairs, names_of
from apps.chatbot.bot import Bot
from shared.errors import DataError
from shared.intake import take_in
from shared.settings import Home
from shared.tables import Column, Reject, Table, sniff_columns
from shared.training.examples import Examples, from_rows

Say = Callable[[str], None]


@dataclass(frozen=True)
class Questions:
    """Examples of a bot, and the answers that came with them (question/answer tables).

    places: (n,) the file and line of each example. rejects: rows that cannot be used, by file.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    answers: AnswerBook
    places: tuple[tuple[Path, int], ...] = ()
    rejects: tuple[tuple[Path, Reject], ...] = ()

    def examples(self) -> Examples:
        return from_rows(self.texts, [(label,) for label in self.labels], "single")


def alone(examples: Examples) -> bool:
    """Whether each label has one question (and copies of it), so that none can be held out."""
    return len(set(zip(examples.single, examples.groups.tolist(), strict=True))) == len(
        examples.names
    )


def with_answers(examples: Examples, book: AnswerBook) -> Examples:
    """The rows, and behind them the answer of each label that has one, as if it were a question."""
    said = [name for name in examples.names if name in book.by_label]
    return from_rows(
        (*examples.texts, *(book.by_label[name].template() for name in said)),
        (*examples.labels, *((name,) for name in said)),
        "single",
    )


def split_questions(
    everything: Examples, asked: int, *, fraction: float, seed: int
) -> tuple[Examples, Examples]:
    """Of rows that are questions (the first `asked`) and answers: those to learn from, and a
    `fraction` of the questions, each of which leaves its label the answer and has no copy."""
    names, times = np.unique(everything.single, return_counts=True)
    groups, copies = np.unique(everything.groups, return_counts=True)
    free = np.isin(everything.single, names[times > 1]) & np.isin(
        everything.groups, groups[copies == 1]
    )
    able = np.flatnonzero(free[:asked])
    held = np.sort(np.random.default_rng(seed).permutation(able)[: round(fraction * asked)])
    if not len(held):
        raise DataError(
            f"{asked} questions, one for each label: none can be held out to judge by; "
            "give answers to them, more examples, or a validation file"
        )
    return everything.take(np.setdiff1d(np.arange(len(everything)), held)), everything.take(held)


def read_all(
    paths: Sequence[Path],
    mapping: Mapping[str, str],
    home: Home,
    say: Say,
    *,
    like: Questions | None = None,
) -> Questions:
    """Several tables as one; they are all `text,label` or all `question,answer`."""
    first, *rest = (read_questions(path, mapping, home, say, like=like) for path in paths)
    for path, more in zip(paths[1:], rest, strict=True):
        if bool(more.answers.answers) != bool(first.answers.answers):
            raise DataError(
                f"{path} and {paths[0]}: one has text,label and the other question,answer; "
                "train on tables of one kind"
            )
        first = Questions(
            (*first.texts, *more.texts),
            (*first.labels, *more.labels),
            joined(first.answers, more.answers),
            (*first.places, *more.places),
            (*first.rejects, *more.rejects),
        )
    return first


def read_questions(
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    say: Say,
    *,
    like: Questions | None = None,
) -> Questions:
    """A table of `text,label`, or of `question,answer`, whichever columns it has.

    like: training questions whose answers give the labels of a question/answer table.
    """
    columns = set(sniff_columns(path))
    rejects = home.reports / "rejects"
    question, answer = mapping.get("question", "question"), mapping.get("answer", "answer")
    if {question, answer} <= columns:
        table = take_in(
            path,
            [Column("question"), Column("answer")],
            mapping=present(mapping, ("question", "answer")),
            rejects=rejects,
            say=say,
        )
        texts = tuple(table.frame["question"])
        given = tuple(text.strip() for text in table.frame["answer"])
        known = _labels_of(like) if like else {}
        labels = {**names_of(given), **known}
        return Questions(
            texts, tuple(labels[a] for a in given), book_of_pairs(labels), *_origin(table)
        )
    table = take_in(
        path,
        [Column("text"), Column("label")],
        mapping=present(mapping, ("text", "label")),
        rejects=rejects,
        say=say,
    )
    labels_given = tuple(label.strip() for label in table.frame["label"])
    return Questions(tuple(table.frame["text"]), labels_given, AnswerBook(), *_origin(table))


def _origin(
    table: Table,
) -> tuple[tuple[tuple[Path, int], ...], tuple[tuple[Path, Reject], ...]]:
    """Places of the usable rows, and the others."""
    places = tuple((table.path, int(line)) for line in table.lines)
    return places, tuple((table.path, reject) for reject in table.rejects)


def questions_for(
    bot: Bot, path: Path, mapping: Mapping[str, str], home: Home, say: Say
) -> Examples:
    """The rows of a table in the labels of a bot, whose own answers name those of a
    question/answer table.

    Raises:
        DataError: the table, or none of its labels is known to the model.
    """
    asked = read_questions(path, mapping, home, say)
    if asked.answers.answers:
        known = {answer.template(): answer.label for answer in bot.answers.answers}
        texts = {answer.label: answer.template() for answer in asked.answers.answers}
        asked = replace(
            asked, labels=tuple(known.get(texts[label], label) for label in asked.labels)
        )
    if not set(asked.labels) & {*bot.classifier.labels, *bot.answers.by_label}:
        raise DataError(
            f"{path}: none of its labels ({', '.join(sorted(set(asked.labels))[:4])}, …) is known "
            f"to this model ({', '.join(bot.classifier.labels[:4])}, …)"
        )
    return asked.examples()


def present(mapping: Mapping[str, str], ours: Sequence[str]) -> dict[str, str]:
    return {name: mapping[name] for name in ours if name in mapping}


def _labels_of(questions: Questions) -> dict[str, str]:
    """answer text -> label."""
    return {answer.template(): answer.label for answer in questions.answers.answers}


def joined(first: AnswerBook, second: AnswerBook) -> AnswerBook:
    """Both books; an answer that stands in both is taken from the second, which is richer."""
    said = {template for answer in first.answers for template in answer.templates}
    extra = [a for a in second.answers if a.template() not in said or a.label in first.by_label]
    replaced = {answer.label for answer in extra}
    return AnswerBook((*(a for a in first.answers if a.label not in replaced), *extra))
