"""Altered copies of training rows: what a classifier that must bear slips learns from beside them.

The slips are of two kinds (shared/evaluation/robustness.py, TAUGHT); whether the copies help is
judged by others, and the draws are not those of the audit. Only the lexical scorer learns from
copies. Measured on the chatbot sample (3,057 rows, 527 judged): copies for the dense scorer too
need another pass of the encoder and a kernel matrix four times as large, and gave accuracy .748
instead of .748 on rows with slips, .820 instead of .822 on rows without.
"""

import random

from shared.evaluation.robustness import TAUGHT
from shared.training.examples import Examples


def copies_of(examples: Examples, seed: int) -> tuple[tuple[int, str], ...]:
    """(row, its text with slips), one for each row that has a letter to slip on; each row has a
    random generator of its own, so that its copy does not depend on the other rows."""
    found = []
    for row, text in enumerate(examples.texts):
        pair = TAUGHT.perturb(text, random.Random(f"{seed} altered copy {text}"))
        if pair is not None:
            found.append((row, pair[1]))
    return tuple(found)
