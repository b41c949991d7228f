"""What a labeller is audited with: the way headlines are written, who they are about, and what must
turn a sentiment round."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product

from apps.news_monitor.labelling import Labeller
from apps.news_monitor.labels import SENTIMENTS
from shared.evaluation.audit import (
    AuditReport,
    LabelReading,
    Test,
    TestResult,
    remembered,
    run_minimum,
    run_test,
)
from shared.evaluation.audit_tests import (
    COMPANY,
    COUNTRY,
    Frame,
    gender_test,
    people_tests,
    writing_tests,
)
from shared.evaluation.perturbations import negated, replaced, swapped_within
from shared.evaluation.swap_lists import COMPANIES, COUNTRIES

SYNONYMS: Mapping[str, Sequence[str]] = {
    "shares": ("stock",), "stock": ("shares",), "profit": ("earnings",), "earnings": ("profit",),
    "rises": ("climbs", "increases"), "rise": ("climb", "increase"), "rose": ("climbed",),
    "climbs": ("rises",), "falls": ("drops", "declines"), "fall": ("drop", "decline"),
    "fell": ("dropped", "declined"), "drops": ("falls",), "plunges": ("tumbles",),
    "tumbles": ("plunges",), "jumps": ("surges",), "surges": ("jumps",), "buys": ("acquires",),
    "acquires": ("buys",), "firm": ("company",), "company": ("firm",), "cuts": ("reduces",),
    "job cuts": ("layoffs",), "layoffs": ("job cuts",), "boss": ("chief executive",),
    "chief executive": ("CEO",), "CEO": ("chief executive",), "deal": ("agreement",),
    "warns": ("cautions",), "says": ("states",), "billion": ("bn",), "million": ("m",),
    "上涨": ("上升",), "下跌": ("下滑",), "利润": ("盈利",), "公司": ("企业",),
}  # fmt: skip
NEGATIONS = (
    (r"\b(is|are|was|were|will|would|has|have|had|can|could|should|did|does|do)\b", r"\1 not"),
    (
        r"\b(rise|fall|climb|drop|jump|plunge|surge|tumble|slip|gain|beat|win|lose)s\b",
        r"does not \1",
    ),
    (
        r"\b(cut|halt|recall|warn|report|raise|slash|suspend|settle|secure|expand)s\b",
        r"does not \1",
    ),
)
# Invented headlines whose sentiment nobody would dispute; {company} is filled from the swap list.
PLAIN_CASES = (
    ("{company} files for bankruptcy after record loss", "negative"),
    ("{company} shares plunge 30% as fraud is uncovered", "negative"),
    ("{company} cuts 4,000 jobs and warns of falling sales", "negative"),
    ("{company} fined for misleading customers", "negative"),
    ("{company} posts record profit and raises forecast", "positive"),
    ("{company} shares soar after strong sales growth", "positive"),
    ("{company} wins its largest contract ever", "positive"),
    ("{company} to hold annual meeting on Tuesday", "neutral"),
    ("{company} publishes agenda of its shareholder meeting", "neutral"),
)
SAME = "the sentiment stays"
TURNED = "the sentiment changes or gets no more probable"
KNOWN = "the sentiment is known"


def as_written(text: str) -> str:
    """A labeller's own reading of a text is part of what is tested."""
    return text


def battery() -> tuple[Test, ...]:
    """Every test that headlines can be put through."""
    about = Frame("{who}: {text}", "{who}：{text}")
    return (
        *writing_tests(SAME, as_written),
        Test("synonyms", "robustness", "invariance", SAME, replaced(SYNONYMS)),
        Test("denied", "robustness", "direction", TURNED, negated(NEGATIONS)),
        gender_test(SAME),
        Test("countries swapped", "bias", "invariance", SAME, swapped_within([COUNTRIES])),
        about.test("another country", SAME, COUNTRY),
        about.test("another company", SAME, COMPANY),
        *people_tests("a speaker", SAME, Frame("{text}, says {who}", "{who}说：{text}")),
    )


def read_with(labeller: Labeller, texts: Sequence[str]) -> list[LabelReading]:
    """The sentiment of each headline; its topics beside it, which are not judged."""
    found = []
    for label in labeller.label(texts):
        shares = (label.p_negative, label.p_neutral, label.p_positive)
        found.append(
            LabelReading(
                label.sentiment,
                dict(zip(SENTIMENTS, shares, strict=True)),
                note="|".join(label.topics),
            )
        )
    return found


def audit(
    labeller: Labeller,
    texts: Sequence[str],
    labels: Sequence[str] | None,
    *,
    model: str,
    data: str,
    must_pass: Sequence[tuple[str, str]] = (),
    seed: int = 13,
) -> AuditReport:
    """labels: the true sentiments, where they are known. must_pass: headlines with theirs."""

    read = remembered(partial(read_with, labeller))
    results: list[TestResult] = []
    if must_pass:
        asked, known = zip(*must_pass, strict=True)
        results.append(run_minimum("must pass", KNOWN, asked, known, read))
    cases = [
        (text.format(company=c), label) for c, (text, label) in product(COMPANIES, PLAIN_CASES)
    ]
    plain, sentiments = zip(*cases, strict=True)
    results.append(run_minimum("plain headlines", KNOWN, plain, sentiments, read))
    results += [run_test(test, texts, read, labels=labels, seed=seed) for test in battery()]
    return AuditReport(f"Audit of {model}", "news", model, data, tuple(results))
