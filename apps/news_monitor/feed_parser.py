"""Feeds are parsed in a process of their own, so that none can hold up or bring down the monitor.

A parser that takes too long, or too much memory, is ended; that feed is then a row with a reason,
and the next one gets a fresh process.
"""

import atexit
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import datetime

from apps.news_monitor.parsing import Entry, ParsedFeed

COMMAND = (sys.executable, "-m", "apps.news_monitor.parser_process")
PATIENCE = 20.0
"""Seconds on the clock for each second of processor time: the machine may have other work. It is
reached only by a parser that waits for something."""


class FeedParser:
    """One process, started when it is first needed; asked by one thread at a time."""

    def __init__(self, command: Sequence[str] = COMMAND, *, patience: float = PATIENCE) -> None:
        self._command = tuple(command)
        self._patience = patience
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def parse(
        self, body: bytes, *, url: str, content_type: str = "", limit: int = 1000, seconds: int = 10
    ) -> ParsedFeed:
        """See parse_feed; seconds: of processor time. Never raises for any bytes."""
        asked = {
            "url": url,
            "content_type": content_type,
            "limit": limit,
            "seconds": seconds,
            "bytes": len(body),
        }
        with self._lock:
            process = self._running()
            late = threading.Event()

            def give_up() -> None:
                late.set()
                process.kill()

            clock = threading.Timer(seconds * self._patience, give_up)
            clock.daemon = True
            clock.start()
            answer = _answer(process, json.dumps(asked).encode("ascii") + b"\n" + body)
            clock.cancel()
            clock.join()
            if late.is_set() or not answer.endswith(b"\n"):
                problem = _reason(self._ended(), late.is_set(), seconds, self._patience)
                if not answer.endswith(b"\n"):
                    return ParsedFeed(problem=problem)
        return _parsed(answer)

    def close(self) -> None:
        """End the process; the next feed starts another."""
        with self._lock:
            if self._process is not None:
                self._ended()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._ended()
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return self._process

    def _ended(self) -> int:
        """Its exit status, negative for a signal, once it has gone."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # what it had not read is lost with it
            process.stdin.close()
        return process.wait()


def _answer(process: subprocess.Popen[bytes], question: bytes) -> bytes:
    """A whole line, or what came of it before the process went."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(question)
        process.stdin.flush()
        return process.stdout.readline()
    except OSError:
        return b""


def _reason(status: int, late: bool, seconds: int, patience: float) -> str:
    if status == -signal.SIGXCPU:
        return f"not read within {seconds} s of processor time: given up"
    if late:
        return f"not read within {seconds * patience:g} s: given up"
    return f"reading it ended its parser (exit status {status})"


def _parsed(answer: bytes) -> ParsedFeed:
    found = json.loads(answer)
    entries = []
    for raw in found["entries"]:
        at = raw["published"]
        entries.append(Entry(**{**raw, "published": at and datetime.fromisoformat(at)}))
    return ParsedFeed(**{**found, "entries": tuple(entries)})


def feed_parser() -> FeedParser:
    """The one that all monitors of this process share; ended with it."""
    # A fork has a copy of its parent's, and both would read the answers of one.
    return _parser_of(os.getpid())


@functools.cache
def _parser_of(process: int) -> FeedParser:
    del process
    parser = FeedParser()
    atexit.register(parser.close)
    return parser
