"""What a model that did not see a row makes of it: wrong labels, intents that overlap.

The probabilities are out of fold, with near copies of a text always in one fold.
"""

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from apps.chatbot.doctor.findings import Edit, Finding, Fix, quoted
from apps.chatbot.doctor.reading import BotData
from apps.chatbot.doctor.row_checks import exact_key
from shared.errors import DataError
from shared.inference.runtime import Embedder
from shared.training.examples import Examples, from_rows
from shared.training.fusion import fit_fused
from shared.training.label_errors import find_label_errors

# Rows of two intents that are taken for the other: so many, and this share of both, are an overlap.
FEWEST_CONFUSED = 3
OVERLAPPING = 0.15
Floats = NDArray[np.float32]


class Judged:
    """Examples with what a model made of each without having seen it.

    p: (n, C) probabilities in the order of examples.names; NaN where a row was never held out.
    """

    def __init__(self, examples: Examples, p: Floats) -> None:
        self.examples = examples
        self.p = p

    def likeliest(self) -> Mapping[str, str]:
        """Exact key of a text -> the intent with the largest mean probability over its rows."""
        sums: dict[str, Floats] = {}
        for text, row in zip(self.examples.texts, self.p, strict=True):
            if not np.isnan(row).any():
                key = exact_key(text)
                sums[key] = sums[key] + row if key in sums else row
        names = self.examples.names
        return {key: names[int(total.argmax())] for key, total in sums.items()}


def judge_rows(
    data: BotData, embedder: Embedder, *, seed: int, threads: int, say: Callable[[str], None]
) -> Judged:
    """Raises DataError where there is too little to learn from."""
    rows = data.rows
    examples = from_rows([row.text for row in rows], [(row.label,) for row in rows], "single")
    fit = fit_fused(examples, embedder=embedder, seed=seed, threads=threads, say=say)
    return Judged(examples, fit.out_of_fold)


def wrong_labels(
    data: BotData, judged: Judged, skip: Collection[int], overlapping: Collection[frozenset[str]]
) -> Iterator[Finding]:
    """Labels that are probably wrong, the surest first. skip: rows that another finding has.
    overlapping: pairs of intents that cannot be told apart, so that no label of theirs is wrong."""
    try:
        found = find_label_errors(judged.examples, judged.p)
    except DataError:  # no row was held out: too few of each label
        return
    for suspect in found.suspects:
        if suspect.row in skip or frozenset((suspect.given, suspect.suggested)) in overlapping:
            continue
        place = data.rows[suspect.row].place
        fix = Fix(
            f"label it {suspect.suggested}",
            (Edit("relabel", place, suspect.given, suspect.suggested),),
        )
        yield Finding(
            "wrong label", "warning",
            f"{quoted(suspect.text)} is labelled {suspect.given}; the other examples speak for "
            f"{suspect.suggested} (margin {suspect.margin:.2f})",
            (place,), fix,
        )  # fmt: skip


def overlaps(data: BotData, judged: Judged) -> Iterator[Finding]:
    """Pairs of intents whose examples are taken for each other, the largest share first."""
    names = judged.examples.names
    held = np.flatnonzero(~np.isnan(judged.p).any(1))
    given = judged.examples.targets(names)[held].argmax(1)
    taken = judged.p[held].argmax(1)
    count = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(count, (given, taken), 1)
    size = np.bincount(given, minlength=len(names))
    both = count + count.T
    share = both / np.maximum(1, size[:, None] + size[None, :])
    first, second = np.nonzero(np.triu((both >= FEWEST_CONFUSED) & (share >= OVERLAPPING), k=1))
    for at in np.argsort(-share[first, second], kind="stable"):
        a, b = int(first[at]), int(second[at])
        mixed = held[((given == a) & (taken == b)) | ((given == b) & (taken == a))]
        yield _overlap(data, names[a], names[b], mixed, float(share[a, b]))


def _overlap(data: BotData, a: str, b: str, mixed: NDArray[np.int64], share: float) -> Finding:
    rows = [data.rows[i] for i in mixed]
    keep, gone = (a, b) if len(data.by_label[a]) >= len(data.by_label[b]) else (b, a)
    examples = " or ".join(quoted(row.text, 45) for row in rows[:2])
    total = len(data.by_label[a]) + len(data.by_label[b])
    what = (
        f"{a} and {b} overlap: {len(rows)} of their {total} examples "
        f"({share:.0%}) are taken for the other, such as {examples}"
    )
    words = f"merge {gone} into {keep}"
    kept, lost = data.answer(keep), data.answer(gone)
    if lost is not None:
        same = kept is not None and set(kept.variants()) == set(lost.variants())
        words += "; their answers are the same" if same else (
            f"; its answer becomes that of {keep}" if kept is None
            else f"; what is said is the answer of {keep}, so do so only if it serves both"
        )  # fmt: skip
    first = data.by_label[gone][0].place
    fix = Fix(words, (Edit("merge", first, gone, keep),))
    return Finding("overlap", "warning", what, tuple(row.place for row in rows), fix)
