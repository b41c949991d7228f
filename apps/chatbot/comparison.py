"""Two versions of a chatbot on the same questions, and what a promotion may depend on."""

from collections.abc import Callable, Mapping
from pathlib import Path

from apps.chatbot.bot import Bot, Reply
from apps.chatbot.judgement import outcomes_of
from apps.chatbot.questions import questions_for
from shared.evaluation.leakage import seen_by_either
from shared.evaluation.outcomes import Case, Contest
from shared.settings import Home
from shared.tables import Column, read_table

# Labels of a must-pass file that name a decision and no intent.
DECISIONS = ("reject", "handover")
Say = Callable[[str], None]


def compare(
    candidate: Path,
    production: Path,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    say: Say,
) -> Contest:
    """Both on a table `text,label` or `question,answer`.

    Raises: DataError: the table. ModelError: a folder.
    """
    new, old = Bot.load(candidate, home=home), Bot.load(production, home=home)
    asked = questions_for(new, path, mapping, home, say)
    seen, note = seen_by_either(asked.texts, candidate, production)
    return Contest(
        candidate=outcomes_of(new, asked),
        production=outcomes_of(old, asked),
        seen=(seen, seen),
        serve=(new.reply, old.reply),
        asked=asked.texts,
        notes=(note,),
    )


def cases(folder: Path, path: Path, home: Home, *, say: Say) -> tuple[Case, ...]:  # noqa: ARG001
    """A must-pass file `text,label`: the intent, which must not be refused; or the decision
    `reject` or `handover`."""
    table = read_table(path, [Column("text"), Column("label")], mapping={})
    texts = [str(text) for text in table.frame["text"]]
    labels = [str(label).strip() for label in table.frame["label"]]
    replies = Bot.load(folder, home=home).reply(texts)
    return tuple(_case(reply, label) for reply, label in zip(replies, labels, strict=True))


def _case(reply: Reply, label: str) -> Case:
    given = f"{reply.decision} {reply.intent}"
    if label in DECISIONS:
        return Case(reply.text, label, given, reply.decision == label)
    return Case(reply.text, label, given, reply.intent == label and reply.decision != "reject")
