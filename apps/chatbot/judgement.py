"""How good a bot is: understanding, and the decisions its customers would have met."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from apps.chatbot.bot import Bot, Reply
from shared.evaluation.classification import judge_single
from shared.evaluation.intervals import bootstrap, mean_of
from shared.evaluation.leakage import Copies
from shared.evaluation.metrics import auroc, fpr_at_tpr
from shared.evaluation.outcomes import Outcomes, text_outcomes
from shared.evaluation.report import Measure, Report
from shared.evaluation.slices import words_of
from shared.inference.classifier import FusedClassifier
from shared.inference.conformal import conformal_members
from shared.training.examples import Examples

# A scorer of the fusion by itself is a rival in the report, under the name a reader knows.
RIVAL_NAMES = {
    "lexical": "TF-IDF + linear SVM",
    "dense": "frozen encoder + kernel least squares",
    "finetuned": "fine-tuned encoder alone",
}


def judge(
    bot: Bot,
    held: Examples,
    out_of_scope: Sequence[str],
    *,
    title: str,
    data: str,
    rivals: Mapping[str, FusedClassifier],
    seed: int,
    notes: Sequence[str],
    copies: Copies | None = None,
) -> Report:
    """Measure a bot on held-out questions and, where there are any, on texts it must refuse.

    copies: which of the questions are copies of training rows, where that may be.
    """
    read = bot.read(held.texts)
    scores = bot.classifier.score(read)
    parts = {RIVAL_NAMES.get(name, name): part for name, part in scores.parts.items()}
    others = {name: other.score(read).probabilities for name, other in rivals.items()}
    judged = judge_single(
        held.texts,
        held.single,
        bot.classifier.labels,
        scores.probabilities,
        rivals={**parts, **others},
        known_words=words_of(bot.classifier.lexical.vocabulary),
        copies=copies,
        seed=seed,
    )
    replies = bot.reply(held.texts)
    measures = [
        *judged.measures,
        *_decisions(replies, held.single, seed),
        _coverage(bot, scores.probabilities, held.single, seed),
    ]
    if out_of_scope:
        measures += _refusals(bot, scores.oos, out_of_scope, seed)
    return Report(
        title=title,
        app="chatbot",
        model=bot.config.base
        + (" frozen" if bot.config.finetuned_fingerprint is None else " fine-tuned"),
        data=data,
        measures=tuple(measures),
        per_label=judged.per_label,
        confusions=judged.confusions,
        slices=judged.slices,
        baselines=judged.baselines,
        calibration=judged.calibration,
        notes=(
            *(() if copies is None else (copies.line,)),
            f"a conformal coverage of {1 - bot.config.alpha:.1%} is promised",
            *notes,
        ),
    )


def outcomes_of(bot: Bot, held: Examples) -> tuple[Outcomes, Outcomes]:
    """Row by row: "intent", whether it was understood; "served", whether the customer got the
    right answer or was offered it, or was handed over as that intent asks for."""
    replies = bot.reply(held.texts)
    understood = np.array([r.intent == y for r, y in zip(replies, held.single, strict=True)], bool)
    served = np.array([_served(r, y) for r, y in zip(replies, held.single, strict=True)], bool)
    known = words_of(bot.classifier.lexical.vocabulary)
    return (
        text_outcomes(
            "intent",
            held.texts,
            held.labels,
            understood,
            groups=held.groups,
            known_words=known,
            decisions=[reply.intent for reply in replies],
            confidence=np.array([reply.probability for reply in replies]),
            right=understood,
        ),
        text_outcomes(
            "served",
            held.texts,
            held.labels,
            served,
            groups=held.groups,
            known_words=known,
            decisions=[_said(reply) for reply in replies],
        ),
    )


def _served(reply: Reply, truth: str) -> bool:
    if reply.decision == "clarify":
        return truth in {option.label for option in reply.options}
    return reply.decision != "reject" and reply.intent == truth


def _said(reply: Reply) -> str:
    offered = ", ".join(option.label for option in reply.options)
    return f"{reply.decision} {offered or reply.intent}"


def _decisions(replies: Sequence[Reply], truth: Sequence[str], seed: int) -> list[Measure]:
    """Share of in-scope questions answered, asked back and refused; how often answers are right."""
    decided = np.array([reply.decision for reply in replies])
    right = np.array([reply.intent == label for reply, label in zip(replies, truth, strict=True)])
    offered = np.array(
        [
            label in {option.label for option in reply.options}
            for reply, label in zip(replies, truth, strict=True)
        ]
    )
    found = []
    for name, rows in (
        ("answered", decided == "answer"),
        ("asked back", decided == "clarify"),
        ("refused", decided == "reject"),
    ):
        found.append(_share(name, rows, seed))
    if (decided == "answer").any():
        found.append(_share("right when answered", right[decided == "answer"], seed))
    if (decided == "clarify").any():
        found.append(_share("true intent offered", offered[decided == "clarify"], seed))
    return found


def _coverage(
    bot: Bot, probabilities: NDArray[np.float32], truth: Sequence[str], seed: int
) -> Measure:
    """How often the conformal set of a question holds its intent; none holds an unknown one."""
    members = conformal_members(
        probabilities, bot.classifier.fusion.nonconformity, bot.config.alpha
    )
    place = {label: column for column, label in enumerate(bot.classifier.labels)}
    held = [label in place and row[place[label]] for row, label in zip(members, truth, strict=True)]
    return _share("conformal coverage", np.array(held, bool), seed)


def _refusals(
    bot: Bot, inside: NDArray[np.float32], out_of_scope: Sequence[str], seed: int
) -> list[Measure]:
    """How well the out-of-scope score tells the texts to refuse from the held-out questions."""
    outside = bot.classifier.score(bot.read(out_of_scope)).oos
    both = np.concatenate([outside, inside])
    is_outside = np.arange(len(both)) < len(outside)
    n = len(both)
    area = bootstrap(lambda weights: auroc(both, is_outside, weights), n, seed=seed)
    # In-scope texts are what must be kept: they are the positives here, the score turned round.
    passed = bootstrap(lambda weights: fpr_at_tpr(-both, ~is_outside, 0.95, weights), n, seed=seed)
    found = [
        Measure("out-of-scope AUROC", area.value, area.low, area.high, n),
        Measure("out of scope let through", passed.value, passed.low, passed.high, n),
    ]
    replies = bot.reply(out_of_scope)
    refused = np.array([reply.decision in ("reject", "handover") for reply in replies])
    return [*found, _share("out of scope refused", refused, seed)]


def _share(name: str, rows: NDArray[np.bool_], seed: int) -> Measure:
    interval = bootstrap(mean_of(rows), len(rows), seed=seed)
    return Measure(name, interval.value, interval.low, interval.high, len(rows))
