"""Calls of several threads as one batch: each gets its own answers, an error spoils no other."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.inference.gathered import Gathered


def test_each_caller_gets_the_answers_to_what_it_asked() -> None:
    sizes: list[int] = []

    def answer(asked: list[int]) -> list[int]:
        sizes.append(len(asked))
        return [number * number for number in asked]

    gathered = Gathered(answer, most=8, at_once=2)
    with ThreadPoolExecutor(16) as pool:
        asked = [list(range(n, n + n % 4)) for n in range(400)]
        assert list(pool.map(gathered, asked)) == [[n * n for n in each] for each in asked]
    assert sum(sizes) == sum(map(len, asked))
    assert max(sizes) <= 8


def test_what_comes_while_a_batch_is_computed_is_the_next_batch() -> None:
    batches: list[list[str]] = []
    started, go_on = threading.Event(), threading.Event()

    def answer(asked: list[str]) -> list[str]:
        batches.append(asked)
        started.set()
        go_on.wait(30)
        return [text.upper() for text in asked]

    gathered = Gathered(answer, most=3, at_once=1)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(gathered, ["a"])
        started.wait(30)
        others = [pool.submit(gathered, [text]) for text in "bcdef"]
        while len(gathered._queue) < len(others):
            pass
        go_on.set()
        assert first.result() == ["A"]
        assert sorted(each.result()[0] for each in others) == list("BCDEF")
    assert sorted(map(len, batches)) == [1, 2, 3]
    # The place is free again.
    assert gathered(["g"]) == ["G"]


def test_more_than_a_batch_is_answered_alone() -> None:
    gathered: Gathered[int, int] = Gathered(lambda asked: asked, most=2, at_once=1)
    assert gathered([1, 2, 3]) == [1, 2, 3]
    assert gathered([]) == []


def test_an_error_reaches_who_caused_it_and_nobody_else() -> None:
    entered, go_on = threading.Event(), threading.Event()

    def answer(asked: list[int]) -> list[float]:
        if asked == [7]:
            entered.set()
            go_on.wait(30)
        return [1 / number for number in asked]

    gathered = Gathered(answer, most=8, at_once=1)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(gathered, [7])
        entered.wait(30)
        others = [pool.submit(gathered, [number]) for number in (1, 0, 2)]
        while len(gathered._queue) < len(others):
            pass
        go_on.set()
        assert first.result() == [1 / 7]
        assert [others[0].result(), others[2].result()] == [[1.0], [0.5]]
        with pytest.raises(ZeroDivisionError):
            others[1].result()
    assert gathered([4]) == [0.25]
