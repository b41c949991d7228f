"""The process that feeds are parsed in: see feed_parser.py, which starts it and asks it.

A line of JSON says how many bytes of a feed follow; a line of JSON answers. It holds no more than
MEMORY, and is ended by the system when it takes more processor time than the question allows:
that is sure whatever the parser does, and does not depend on what else the machine is doing.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, BinaryIO

from apps.news_monitor.parsing import ParsedFeed, parse_feed

MEMORY = 1 << 30
"""Bytes of address space: a feed of 5 MiB of the smallest entries takes about a fifth."""


def serve(parse: Callable[..., ParsedFeed], questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more questions."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    for line in questions:
        asked = json.loads(line)
        body = questions.read(asked["bytes"])
        until = int(time.process_time()) + 1 + asked["seconds"]
        resource.setrlimit(resource.RLIMIT_CPU, (until, hard))
        found = parse(
            body, url=asked["url"], content_type=asked["content_type"], limit=asked["limit"]
        )
        answers.write(json.dumps(asdict(found), default=_moment).encode("ascii") + b"\n")
        answers.flush()


def _moment(value: Any) -> str:
    return str(value.isoformat())


def main() -> None:
    """Answers go where only this module writes, whatever a library may print."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(parse_feed, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
