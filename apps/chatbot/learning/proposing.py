"""Open lessons put together: those with a label by it, those without one by what they ask."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Engine, Row, bindparam, select, update

from apps.chatbot.answers import readable
from apps.chatbot.mining.answer_choice import Encode, Pair
from apps.chatbot.mining.answer_clusters import SAME_WORDS, cluster_answers
from apps.chatbot.mining.dialogue_masking import Words
from apps.chatbot.mining.intent_names import name_clusters, title_of
from apps.chatbot.tables import lessons
from shared.near_duplicates import near_duplicate_groups

# Likeness from which two questions ask the same: chosen on BANKING77's training part, ten questions
# each of 30 intents drawn at random, by the adjusted Rand index.
SAME_QUESTION = 0.4
# Lessons that are put together; older ones keep what they had.
MOST_LESSONS = 20_000


def propose(engine: Engine, bot: str, encode: Encode, known: Collection[str]) -> tuple[int, int]:
    """Give each open lesson its proposal anew; how many lessons there are, in how many proposals.
    known: intents that the bot has, whose names no new one gets.

    Nothing is locked while it is thought; what was decided meanwhile stays as it is.
    """
    query = (
        select(lessons)
        .where(lessons.c.bot == bot, lessons.c.state == "new")
        .order_by(lessons.c.id.desc())
        .limit(MOST_LESSONS)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    labelled = [row for row in rows if row.label]
    named = [(row, str(row.label), readable(str(row.label))) for row in labelled]
    named += _clustered([row for row in rows if not row.label], encode, known)
    changed = [
        {"number": row.id, "name": name, "title": title}
        for row, name, title in named
        if (row.proposal, row.proposal_title) != (name, title)
    ]
    if changed:
        with engine.begin() as connection:
            connection.execute(
                update(lessons)
                .where(lessons.c.id == bindparam("number"), lessons.c.state == "new")
                .values(proposal=bindparam("name"), proposal_title=bindparam("title")),
                changed,
            )
    return len(rows), len({name for _, name, _ in named})


def _clustered(
    rows: Sequence[Row[Any]], encode: Encode, known: Collection[str]
) -> list[tuple[Row[Any], str, str]]:
    """Each with the name and the title of what it asks."""
    groups = same_questions([row.question for row in rows], encode)
    groups = same_answers(groups, [row.answer for row in rows])
    questions = [[rows[at].question for at in group] for group in groups]
    return [
        (rows[at], f"new: {_free(name, known)}", title_of(asked, name))
        for group, asked, name in zip(groups, questions, name_clusters(questions), strict=True)
        for at in group
    ]


def _free(name: str, known: Collection[str]) -> str:
    return name if name not in known else f"{name}_new"


def same_questions(
    questions: Sequence[str], encode: Encode, *, likeness: float = SAME_QUESTION
) -> list[list[int]]:
    """Numbers of questions that ask the same, the largest group and its most typical first.

    By what is asked alone: not all were answered.
    """
    pairs = [
        Pair(
            text, Words(text, ()), (), frozenset(), "", str(at), 0, (at,), (), 0.0, 0, 0.0
        )
        for at, text in enumerate(questions)
    ]  # fmt: skip
    clusters = cluster_answers(pairs, encode, same_meaning=likeness)
    return [[pair.question_turns[0] for pair in cluster.pairs] for cluster in clusters]


def same_answers(groups: Sequence[Sequence[int]], answers: Sequence[str]) -> list[list[int]]:
    """The groups, those together to which people usually gave the same answer; the largest first.

    answers: of each number, "" where nobody answered. Answers are the same in nearly the same words
    only: what agents say to everything would otherwise make everything one.
    """
    said = [at for at, answer in enumerate(answers) if answer]
    if not said:
        return [list(group) for group in groups]
    wordings = near_duplicate_groups([answers[at] for at in said], SAME_WORDS)
    wording_of = dict(zip(said, (int(number) for number in wordings), strict=True))
    found: dict[tuple[str, int], list[int]] = {}
    for number, group in enumerate(groups):
        given = Counter(wording_of[at] for at in group if at in wording_of)
        key = ("answer", given.most_common(1)[0][0]) if given else ("group", number)
        found.setdefault(key, []).extend(group)
    return sorted(found.values(), key=lambda group: -len(group))
