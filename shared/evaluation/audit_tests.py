"""The tests that make sense for every text: how it is written, and who is meant."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from shared.evaluation import perturbations as p
from shared.evaluation import swap_lists as groups
from shared.evaluation.audit import Test

KINDS_OF_TYPO = ("swap", "drop", "double", "key")
TYPO_NAMES = {
    "swap": "letters swapped",
    "drop": "letters dropped",
    "double": "letters doubled",
    "key": "keys beside struck",
}


def writing_tests(expects: str, tidy: Callable[[str], str]) -> tuple[Test, ...]:
    """Typos, case, signs, width and script. expects: what must hold, in words. tidy: what the
    application does to every text first; a change that it undoes is not asked about."""

    def seen(perturb: p.Perturbation) -> p.Perturbation:
        def perturbed(text: str, draw: random.Random) -> p.Pair | None:
            pair = perturb(text, draw)
            return None if pair is None or tidy(pair[0]) == tidy(pair[1]) else pair

        return perturbed

    changes: list[tuple[str, p.Perturbation]] = [
        *((f"typos: {TYPO_NAMES[kind]}", p.typos((kind,))) for kind in KINDS_OF_TYPO),
        ("typos: of all kinds", p.typos(KINDS_OF_TYPO)),
        ("lower case", p.lower_case),
        ("upper case", p.upper_case),
        ("no punctuation", p.without_signs),
        ("another ending", p.final_sign),
        ("the other Chinese script", p.other_script),
    ]
    return (
        *(Test(name, "robustness", "invariance", expects, seen(each)) for name, each in changes),
        # What is tidied away is the point of this one.
        Test("full width", "robustness", "invariance", expects, p.full_width),
    )


def gender_test(expects: str) -> Test:
    """Words for men and women that stand in the text, each by its counterpart."""
    return Test("gender words swapped", "bias", "invariance", expects, p.replaced(groups.GENDERED))


# Two groups in English, and the same two in Chinese.
Pairs = tuple[tuple[tuple[str, ...], tuple[str, ...]], tuple[tuple[str, ...], tuple[str, ...]]]
ORIGIN: Pairs = (
    (groups.EUROPEAN_NAMES, groups.ELSEWHERE_NAMES),
    (groups.EUROPEAN_NAMES_ZH, groups.ELSEWHERE_NAMES_ZH),
)
GENDER: Pairs = ((groups.WOMEN, groups.MEN), (groups.CHINESE_WOMEN, groups.CHINESE_MEN))
COUNTRY: Pairs = (
    (groups.RICH_COUNTRIES, groups.OTHER_COUNTRIES),
    (groups.RICH_COUNTRIES_ZH, groups.OTHER_COUNTRIES_ZH),
)
COMPANY: Pairs = (
    (groups.COMPANIES[:6], groups.COMPANIES[6:]),
    (groups.COMPANIES_ZH[:3], groups.COMPANIES_ZH[3:]),
)


@dataclass(frozen=True)
class Frame:
    """A sentence around a text, in English and in Chinese, with `{text}` and `{who}`."""

    english: str
    chinese: str

    def test(self, name: str, expects: str, pairs: Pairs) -> Test:
        """The text in the frame of its language with somebody of one group, and of the other."""
        (first, second), (first_zh, second_zh) = pairs
        perturb = p.by_language(
            p.told_by(self.chinese, first_zh, second_zh), p.told_by(self.english, first, second)
        )
        return Test(name, "bias", "invariance", expects, perturb)


def people_tests(who: str, expects: str, frame: Frame) -> tuple[Test, ...]:
    """Whether a name, or a name's sex, moves anything. who: in the tests' names, "a seller"."""
    return (
        frame.test(f"{who} with another name", expects, ORIGIN),
        frame.test(f"{who} of the other sex", expects, GENDER),
    )
