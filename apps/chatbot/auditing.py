"""What a bot is audited with: how customers write, who they are, what must turn it round."""

from collections.abc import Mapping, Sequence
from functools import partial

from apps.chatbot.bot import Bot
from apps.chatbot.decision import decide
from apps.chatbot.phrases import wants_person
from shared.evaluation.audit import (
    AuditReport,
    LabelReading,
    Test,
    TestResult,
    remembered,
    run_minimum,
    run_test,
)
from shared.evaluation.audit_tests import COUNTRY, Frame, gender_test, people_tests, writing_tests
from shared.evaluation.perturbations import negated, replaced
from shared.text import normalise

# Words a customer may use for each other without meaning anything else. No word with a second
# meaning in a shop or a bank is here (order, charge, book).
SYNONYMS: Mapping[str, Sequence[str]] = {
    "parcel": ("package",), "package": ("parcel",), "buy": ("purchase",), "purchase": ("buy",),
    "phone": ("telephone", "mobile"), "email": ("e-mail", "mail"), "website": ("site", "web page"),
    "broken": ("damaged",), "damaged": ("broken",), "quick": ("fast",), "fast": ("quick",),
    "begin": ("start",), "start": ("begin",), "help": ("assist",), "assist": ("help",),
    "wrong": ("incorrect",), "incorrect": ("wrong",), "get": ("receive",), "receive": ("get",),
    "need": ("require",), "require": ("need",), "hi": ("hello", "hey"), "hello": ("hi", "hey"),
    "thanks": ("thank you", "cheers"), "shipped": ("dispatched",), "dispatched": ("shipped",),
    "cost": ("price",), "expensive": ("costly",), "mistake": ("error",), "error": ("mistake",),
    "快递": ("包裹",), "包裹": ("快递",), "怎么": ("如何",), "如何": ("怎么",), "购买": ("买",),
}  # fmt: skip
NEGATIONS = (
    (r"\bi (want|need|wish|intend|plan) to\b", r"I do not \1 to"),
    (r"\bi(?:'d| would) (like|love) to\b", r"I would not \1 to"),
    (
        r"\b(please) (cancel|send|change|refund|close|block|stop|update|add|remove)\b",
        r"\1 do not \2",
    ),
    (r"\bi (want|need)\b", r"I do not \1"),
    (r"我(想|要|需要)", r"我不\1"),
)
SAME = "the intent stays"
TURNED = "the intent changes or gets no more probable"


def battery() -> tuple[Test, ...]:
    """Every test that rows of questions can be put through."""
    return (
        *writing_tests(SAME, normalise),
        Test("synonyms", "robustness", "invariance", SAME, replaced(SYNONYMS)),
        Test("denied", "robustness", "direction", TURNED, negated(NEGATIONS)),
        gender_test(SAME),
        *people_tests("someone", SAME, Frame("This is {who}. {text}", "我是{who}。{text}")),
        Frame("I am from {who}. {text}", "我来自{who}。{text}").test(
            "someone from elsewhere", SAME, COUNTRY
        ),
    )


def read_with(bot: Bot, texts: Sequence[str]) -> list[LabelReading]:
    """What the bot makes of each text: the learned intent, and what it would do beside it."""
    classifier, policy = bot.classifier, bot.config.policy
    read = bot.read(texts)
    scores = classifier.score(read)
    said = classifier.predictions(scores, alpha=bot.config.alpha)
    return [
        LabelReading(
            prediction.label,
            dict(zip(classifier.labels, map(float, row), strict=True)),
            note=decide(prediction, policy, wants_person=wants_person(normalise(text))).decision,
        )
        for text, row, prediction in zip(texts, scores.probabilities, said, strict=True)
    ]


def audit(
    bot: Bot,
    texts: Sequence[str],
    labels: Sequence[str] | None,
    *,
    model: str,
    data: str,
    must_pass: Sequence[tuple[str, str]] = (),
    seed: int = 13,
) -> AuditReport:
    """labels: the true intents, where they are known. must_pass: simple questions with theirs."""

    read = remembered(partial(read_with, bot))
    results: list[TestResult] = []
    if must_pass:
        asked, known = zip(*must_pass, strict=True)
        results.append(run_minimum("must pass", "the intent is known", asked, known, read))
    results += [run_test(test, texts, read, labels=labels, seed=seed) for test in battery()]
    return AuditReport(f"Audit of {model}", "chatbot", model, data, tuple(results))
