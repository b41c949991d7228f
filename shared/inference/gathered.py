"""Calls that come at the same time, answered as one batch.

A batch costs less than its texts one by one, and leaves the interpreter's lock to others for longer
at a time. Nobody waits for a batch to fill: what has come while the last one was computed is the
next one, so that a call alone is as quick as without.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(eq=False)
class _Call(Generic[Asked, Answer]):
    """One caller. turn: set when it is answered, or is to answer for those in the queue."""

    asked: Sequence[Asked]
    turn: threading.Event = field(default_factory=threading.Event)
    answers: list[Answer] | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.answers is not None or self.error is not None


class Gathered(Generic[Asked, Answer]):
    """Calls `answer` with what several threads ask, and gives each its own answers.

    answer: so many answers as it is asked, in order; an answer must not depend on what is asked
    beside it. most: of a batch; a call that asks as much is answered alone. at_once: batches that
    are computed at the same time.
    """

    def __init__(
        self, answer: Callable[[list[Asked]], list[Answer]], *, most: int, at_once: int
    ) -> None:
        self._answer = answer
        self._most = most
        self._lock = threading.Lock()
        self._queue: deque[_Call[Asked, Answer]] = deque()  # empty while a place is free
        self._free = at_once

    def __call__(self, asked: Sequence[Asked]) -> list[Answer]:
        """As `answer`, with its errors."""
        if len(asked) >= self._most:
            return self._answer(list(asked))
        mine: _Call[Asked, Answer] = _Call(asked)
        with self._lock:
            self._queue.append(mine)
            leads = self._free > 0
            self._free -= leads
        if not leads:
            mine.turn.wait()
        if not mine.done:
            self._lead()
        if mine.error is not None:
            raise mine.error
        assert mine.answers is not None
        return mine.answers

    def _lead(self) -> None:
        """Answer the first of the queue; the caller is among them. Then the place is given on."""
        with self._lock:
            batch = [self._queue.popleft()]
            texts = len(batch[0].asked)
            while self._queue and texts + len(self._queue[0].asked) <= self._most:
                batch.append(self._queue.popleft())
                texts += len(batch[-1].asked)
        try:
            self._compute(batch)
        finally:
            with self._lock:
                if self._queue:
                    self._queue[0].turn.set()
                else:
                    self._free += 1
            for each in batch:
                each.turn.set()

    def _compute(self, batch: Sequence[_Call[Asked, Answer]]) -> None:
        try:
            answers = self._answer([one for each in batch for one in each.asked])
        except Exception as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            # One of them spoils it: the others are answered all the same.
            for each in batch:
                self._compute([each])
            return
        for each in batch:
            each.answers, answers = answers[: len(each.asked)], answers[len(each.asked) :]
