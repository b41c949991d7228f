"""The tests that make sense for every text: how it is written, and who is meant."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from shared.evaluation import perturbations as p
from shared.evaluation.audit import Test
from shared.evaluation.swap_lists import GENDERED

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
    return Test("gender words swapped", "bias", "invariance", expects, p.replaced(GENDERED))


@dataclass(frozen=True)
class Frame:
    """A template with `{text}` and `{who}`, and the two groups that `{who}` comes from."""

    template: str
    first: tuple[str, ...]
    second: tuple[str, ...]

    @property
    def perturbation(self) -> p.Perturbation:
        return p.told_by(self.template, self.first, self.second)


def frame_test(name: str, expects: str, english: Frame, chinese: Frame) -> Test:
    """The text in a frame of its language with somebody of one group, and of the other."""
    perturb = p.by_language(chinese.perturbation, english.perturbation)
    return Test(name, "bias", "invariance", expects, perturb)
