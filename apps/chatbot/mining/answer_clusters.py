"""Answers of one meaning put together: by their words first, then by meaning.

Two answers are alike as far as their texts are, and as far as the questions are that they were
given to: "1797 is blocked" and "Your card can no longer be used" have few words in common, but both
follow "my card was stolen".
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from apps.chatbot.mining.answer_choice import Encode, Pair
from apps.chatbot.mining.dialogue_masking import TOKEN
from shared.inference.batches import unit_length
from shared.near_duplicates import near_duplicate_groups

# Cosine of TF-IDF character n-grams from which two answers are wordings of one another.
SAME_WORDS = 0.8
# What two answers and their questions together must be alike, 0..1, to be one cluster's. This and
# the two weights were chosen on the sample dialogues' labels.
SAME_MEANING = 0.24
# How much the questions count beside the answers, and words beside meaning.
QUESTIONS = 0.3
WORDS = 0.2
# What support texts have in common by an encoder, where there are too few texts to tell: whether
# they are of Han script -> sentences of no one matter.
_USUAL = {
    False: (
        "Where is my order?", "I want my money back.", "Please cancel my subscription.",
        "How do I change my password?", "The app does not open any more.",
        "Do you deliver on Saturdays?", "My card was declined.", "The parcel arrived broken.",
        "What does it cost?", "Can I speak to somebody?", "You can find it under your account.",
        "It takes three working days.", "We have sent you a new one.", "The fee is monthly.",
        "Please restart the device and try again.", "The store opens at nine.",
        "Your refund is on its way.", "Open the settings and choose a language.",
        "We do not ship to that country.", "The warranty lasts two years.",
    ),
    True: (
        "我的订单在哪里？", "我想退款。", "请取消我的订阅。", "怎么修改密码？", "软件打不开了。",
        "周末送货吗？", "我的卡被拒绝了。", "包裹坏了。", "多少钱？", "我想找人工客服。",
        "您可以在账户里找到。", "需要三个工作日。", "我们已经给您寄了新的。", "费用按月收取。",
        "请重启设备再试。", "商店九点开门。", "退款正在处理中。", "请打开设置选择语言。",
        "我们不寄到那个国家。", "保修期是两年。",
    ),
}  # fmt: skip
_HAN = re.compile("[\u3400-\u9fff]")
# Wordings that are compared each with each; further ones join what these have become.
MOST_COMPARED = 4_000


@dataclass(frozen=True)
class Cluster:
    """Pairs whose answers mean the same. pairs: the surest first. wordings: for each of them the
    number of its wording, 0 the most frequent. tightness: mean cosine of the pairs' meanings to
    their middle, 0..1."""

    pairs: tuple[Pair, ...]
    wordings: tuple[int, ...]
    tightness: float


def cluster_answers(
    pairs: Sequence[Pair], encode: Encode, *, same_meaning: float = SAME_MEANING
) -> tuple[Cluster, ...]:
    """The pairs in clusters, the largest first; each pair is in one."""
    if not pairs:
        return ()
    answers = [pair.answer.text for pair in pairs]
    questions = [pair.question for pair in pairs]
    wording = near_duplicate_groups(answers, SAME_WORDS)
    meaning = np.hstack(
        [
            ((1 - WORDS) * weight) ** 0.5 * _centred(texts, encode)
            for texts, weight in ((answers, 1 - QUESTIONS), (questions, QUESTIONS))
        ]
    ).astype(np.float32)  # (n, 2 dim)
    words = sp.hstack(
        [
            _grams(texts) * (WORDS * weight) ** 0.5
            for texts, weight in ((answers, 1 - QUESTIONS), (questions, QUESTIONS))
        ]
    ).tocsr()  # (n, n-grams)
    label = _by_likeness(_Views.of(meaning, words, wording), np.bincount(wording), same_meaning)
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, w in enumerate(wording):
        rows_of[int(label[w])].append(row)
    found = [_cluster(rows, pairs, wording, meaning) for rows in rows_of.values()]
    return tuple(sorted(found, key=lambda c: (-len(c.pairs), c.pairs[0].question)))


def _centred(texts: Sequence[str], encode: Encode) -> NDArray[np.float32]:
    """(n, dim) without what all texts of one script have in common, of length 1 again.

    An encoder finds texts of a script that it hardly knows alike, whatever they say.
    """
    scripts = np.array([bool(_HAN.search(text)) for text in texts])
    vectors = encode(texts)
    out = vectors.copy()
    for han in (False, True):
        rows = np.flatnonzero(scripts == han)
        if len(rows):
            usual = encode(_USUAL[han])
            middle = np.vstack([vectors[rows], usual]).mean(axis=0)
            out[rows] = unit_length(vectors[rows] - middle)
    return out


def _grams(texts: Sequence[str]) -> sp.csr_matrix:
    """(n, n-grams) TF-IDF of characters, rows of length 1; tokens count as nothing."""
    plain = [TOKEN.sub(" ", text).lower() for text in texts]
    if not any(sum(map(str.isalnum, text)) >= 2 for text in plain):
        return sp.csr_matrix((len(texts), 1))
    # Deferred: pages that show templates cluster nothing, and it takes long to import.
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, dtype=np.float32
    ).fit_transform(plain)


@dataclass(frozen=True)
class _Views:
    """Wordings by meaning (w, 2 dim) and by words (w, n-grams); products of two rows add up to
    their likeness, at most about 1."""

    meaning: NDArray[np.float32]
    words: sp.csr_matrix

    @classmethod
    def of(
        cls, meaning: NDArray[np.float32], words: sp.csr_matrix, group: NDArray[np.int64]
    ) -> "_Views":
        """The means over each group of rows."""
        counts = np.bincount(group).astype(np.float32)
        mean = sp.csr_matrix(
            ((1 / counts)[group], (group, np.arange(len(group)))), (len(counts), len(group))
        )
        return cls(np.asarray(mean @ meaning, dtype=np.float32), (mean @ words).tocsr())

    def at(self, rows: NDArray[np.int64]) -> "_Views":
        return _Views(self.meaning[rows], self.words[rows])

    def likeness(self, other: "_Views") -> NDArray[np.float64]:
        """(w, v)."""
        both = self.meaning @ other.meaning.T + (self.words @ other.words.T).toarray()
        return np.asarray(both, dtype=np.float64)


def _by_likeness(views: _Views, sizes: NDArray[np.int64], same: float) -> NDArray[np.int64]:
    """(wordings,) cluster of each wording. Average linkage of the most frequent ones."""
    order = np.argsort(-sizes, kind="stable")
    compared, later = order[:MOST_COMPARED], order[MOST_COMPARED:]
    label = np.zeros(len(sizes), dtype=np.int64)
    if len(compared) > 1:
        distances = np.clip(1 - views.at(compared).likeness(views.at(compared)), 0, 2)
        np.fill_diagonal(distances, 0)
        tree = linkage(squareform(distances, checks=False), method="average")
        label[compared] = fcluster(tree, 1 - same, criterion="distance") - 1
    label[later] = label[compared].max() + 1 + np.arange(len(later))
    groups = _Views.of(views.meaning[compared], views.words[compared], label[compared])
    for start in range(0, len(later), 1024):
        part = later[start : start + 1024]
        likeness = views.at(part).likeness(groups)  # mean likeness to a group's wordings
        best = likeness.argmax(axis=1)
        near = likeness[np.arange(len(part)), best] >= same
        label[part[near]] = best[near]
    return label


def _cluster(
    rows: Sequence[int],
    pairs: Sequence[Pair],
    wording: NDArray[np.int64],
    meaning: NDArray[np.float32],
) -> Cluster:
    each = unit_length(meaning[rows])
    likeness = each @ unit_length(each.mean(axis=0, keepdims=True))[0]
    counts = np.bincount(wording[rows])
    ranked = sorted(np.flatnonzero(counts), key=lambda w: (-counts[w], w))
    place = {int(w): number for number, w in enumerate(ranked)}
    order = sorted(range(len(rows)), key=lambda i: (-pairs[rows[i]].confidence, -likeness[i]))
    return Cluster(
        tuple(pairs[rows[i]] for i in order),
        tuple(place[int(wording[rows[i]])] for i in order),
        float(likeness.mean()),
    )
