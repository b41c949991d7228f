"""The names of labels as rows to learn from: `refund_status` says what its questions ask for.

Measured over the frozen fusion with ten drawn rows a label, three draws each, on development parts:
BANKING77 +0.7, +0.3 and +0.3 points of accuracy, CLINC150 +0.0, +0.7 and +1.2. A name is one row,
so that it says much beside a few rows and nothing beside many.
"""

import re

import numpy as np

from shared.near_duplicates import near_duplicate_groups
from shared.training.examples import Examples

_JOINT = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_DIGIT = re.compile(r"\d")
_CODE_LENGTH = 3  # letters; a shorter name in an alphabet is a code: `hi`, `b`, `ok`


def words_of(name: str) -> str:
    """The words of a label's name in lower case; "" where it is a code and not words.

    >>> words_of("faq/refundStatus"), words_of("Refund_not_showing_up"), words_of("LABEL_3")
    ('faq refund status', 'refund not showing up', '')
    """
    words = " ".join(part for part in _JOINT.split(name) if part)
    ideographs = any("\u3400" <= character <= "\u9fff" for character in words)
    if _DIGIT.search(words) or (len(words) < _CODE_LENGTH and not ideographs):
        return ""
    return words.lower()


def name_rows(examples: Examples) -> Examples | None:
    """One row for each label whose name is words; None where no name is.

    Left out are near copies of an example, which would flatter the loss on it where it is held out,
    and names of several labels that read the same.
    """
    named = {label: words_of(label) for label in examples.names}
    read = list(named.values())
    rows = [(label, words) for label, words in named.items() if words and read.count(words) == 1]
    groups = near_duplicate_groups([*examples.texts, *(words for _, words in rows)])
    mine = groups[len(examples) :]
    fresh = np.flatnonzero(~np.isin(mine, groups[: len(examples)]))
    if not len(fresh):
        return None
    return Examples(
        tuple(rows[at][1] for at in fresh),
        tuple((rows[at][0],) for at in fresh),
        int(examples.groups.max()) + 1 + mine[fresh],
        examples.kind,
    )
