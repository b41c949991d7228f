"""One story, many copies: the same wire text from several publishers counts once.

Copies are found by their words (exact key, then character n-grams) within 72 hours of the first of
their story: what is told again each day is a new story every few days, and not one without end.
Each copy adds its publisher to the story's breadth and nothing to its count.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack

WINDOW = timedelta(hours=72)
SIMILARITY = 0.8
BLOCK = 256  # texts at once: all are compared with all, of which the window lets few count
NOT_WORD = re.compile(r"[\W_]+", re.UNICODE)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
PUBLISHER_SUFFIX = re.compile(r"\s+[-–—|]\s+([^-–—|]{2,40})$")


def story_text(title: str, publishers: Sequence[str] = ()) -> str:
    """The title in lower case, without a trailing " - Publisher" if that is who published it."""
    found = PUBLISHER_SUFFIX.search(title)
    names = {name.casefold() for name in publishers}
    if found and found[1].strip().casefold() in names:
        title = title[: found.start()]
    return title.casefold()


def exact_key(text: str) -> str:
    """Letters and digits only: equal for copies that differ in punctuation or case."""
    return NOT_WORD.sub("", text.casefold())


def same_numbers(first: str, second: str) -> bool:
    """False where both texts hold numbers and have none in common: then they tell of two events,
    however alike they sound (a share price's fall of 3 % and its fall of 9 %)."""
    a, b = set(NUMBER.findall(first)), set(NUMBER.findall(second))
    return not a or not b or bool(a & b)


@dataclass
class CopyIndex:
    """Stories begun in the last 72 hours, against which new texts are held in the order they
    appeared.

    Similarity is the cosine of hashed character 3-5-grams, binary and without document weights:
    it depends on the two texts alone, so the answer is the same in whatever portions they come.
    """

    similarity: float = SIMILARITY
    window: timedelta = WINDOW
    _stories: list[int] = field(default_factory=list)
    _begun: list[datetime] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _vectors: csr_matrix | None = None
    _exact: dict[str, int] = field(default_factory=dict)

    def add(
        self, stories: Sequence[int], texts: Sequence[str], times: Sequence[datetime]
    ) -> list[int]:
        """The story each text belongs to: an earlier one it copies, or its own number.

        stories: the number each would get as a story of its own. times: not decreasing within a
        call; stories begun before the window that ends with the first of them are forgotten.
        """
        answers: list[int] = []
        for begin in range(0, len(stories), BLOCK):
            part = slice(begin, begin + BLOCK)
            answers += self._add_block(stories[part], texts[part], times[part])
        return answers

    def restore(
        self, stories: Sequence[int], texts: Sequence[str], begun: Sequence[datetime]
    ) -> None:
        """Take in texts whose stories are known already, instead of what was there. begun: the time
        of the first of each one's story."""
        self._stories, self._texts, self._begun = list(stories), list(texts), list(begun)
        self._vectors = self._vectorise(texts) if texts else None
        self._exact = {exact_key(text): place for place, text in enumerate(texts)}

    def _vectorise(self, texts: Sequence[str]) -> csr_matrix:
        # Deferred: pages read stories without it, and it takes long to import.
        from sklearn.feature_extraction.text import HashingVectorizer

        vectors: csr_matrix = HashingVectorizer(
            analyzer="char_wb",
            ngram_range=(3, 5),
            n_features=2**18,
            norm="l2",
            alternate_sign=False,
            binary=True,
            dtype=np.float32,
        ).transform(texts)
        return vectors

    def _add_block(
        self, stories: Sequence[int], texts: Sequence[str], times: Sequence[datetime]
    ) -> list[int]:
        if not stories:
            return []
        self._forget(times[0] - self.window)
        fresh = self._vectorise(texts)
        known = len(self._stories)
        vectors = fresh if self._vectors is None else vstack([self._vectors, fresh]).tocsr()
        self._stories += stories
        self._begun += times
        self._texts += texts
        likeness = (fresh @ vectors.T).tocsr()
        for row in range(len(stories)):
            place, own = known + row, slice(likeness.indptr[row], likeness.indptr[row + 1])
            key = exact_key(texts[row])
            found = likeness.indices[own], likeness.data[own]
            other = self._match(place, key, *found)
            self._stories[place], self._begun[place] = self._stories[other], self._begun[other]
            self._exact[key] = place
        self._vectors = vectors
        return self._stories[known:]

    def _match(
        self, place: int, key: str, others: NDArray[np.int32], likeness: NDArray[np.float32]
    ) -> int:
        """The place of the text that this one copies, or its own. others, likeness: (m,) places of
        texts that share a gram with this one, and how alike they are."""
        text, at = self._texts[place], self._begun[place]
        same = self._exact.get(key)
        if same is not None and key and abs(at - self._begun[same]) <= self.window:
            return same
        close = np.flatnonzero(likeness >= self.similarity)
        for entry in close[np.argsort(-likeness[close], kind="stable")]:
            other = int(others[entry])
            near = abs(at - self._begun[other]) <= self.window
            if other < place and near and same_numbers(text, self._texts[other]):
                return other
        return place

    def _forget(self, before: datetime) -> None:
        keep = [i for i, at in enumerate(self._begun) if at >= before]
        if len(keep) == len(self._begun):
            return
        if self._vectors is not None:
            self._vectors = self._vectors[keep]
        self._stories = [self._stories[i] for i in keep]
        self._begun = [self._begun[i] for i in keep]
        self._texts = [self._texts[i] for i in keep]
        self._exact = {exact_key(text): i for i, text in enumerate(self._texts)}
