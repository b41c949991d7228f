"""`triptych benchmark load`: the real server before one customer, and before fifty at once.

`triptych serve` is started on loopback with a model of the home, an empty database of its own and
without the settings of this folder, and is asked what the model's own report was written on. The
clients are threads of this process on the same processors, so that their work is in the figures.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from shared.errors import DataError, ServiceError
from shared.evaluation.forgetting import kept_texts
from shared.registry import Registry
from shared.settings import Home

Say = Callable[[str], None]
CLIENTS, SECONDS, WARM_SECONDS = 50, 20.0, 3.0
ALONE = 300  # messages of the one customer
MATTER = 5  # messages of a customer, then the next one comes
START_SECONDS = 300
PATH = "/webhooks/rest/webhook"
ALONE_NAME, TOGETHER_NAME = "one client", f"{CLIENTS} clients at once"


@dataclass(frozen=True)
class Served:
    """What came of the requests of some clients. milliseconds: of each that was answered, sorted;
    errors: those that were not answered with 200."""

    name: str
    milliseconds: tuple[float, ...]
    errors: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Answers, not requests."""
        return len(self.milliseconds) / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds in which this share of the answers came; NaN without an answer."""
        found = self.milliseconds
        return float(np.quantile(found, share, method="higher")) if found else float("nan")

    def line(self) -> str:
        times = ", ".join(f"p{round(100 * q)} {self.quantile(q):.1f}" for q in (0.5, 0.95, 0.99))
        return (
            f"{self.name:<20} {self.per_second:>7.1f} a second   ms: {times}   "
            f"{self.errors} errors, {len(self.milliseconds)} answers"
        )


@dataclass(frozen=True)
class Load:
    """server_share: processors that the server kept busy while all clients asked."""

    model: str
    alone: Served
    together: Served
    server_share: float


def benchmark_load(
    model: str, *, home: Home, threads: int | None, seconds: float = SECONDS, say: Say
) -> Load:
    """Ask chatbot `model` of `home` by one client and by CLIENTS at once, `seconds` long.

    Raises:
        ModelError: no such model. DataError: it keeps no questions to be asked. ServiceError: the
        server did not come up.
    """
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(model, app="chatbot")
    texts = tuple((kept_texts(version.path) or {}).values())
    if not texts:
        raise DataError(f"{version.path} keeps no questions of its report: train it again")
    name = f"{version.name}@{version.version}"
    say(f"starting triptych serve with {name}; it is asked {len(texts)} different questions")
    with _server(home, name, threads) as (port, process):
        _ask(port, texts, ALONE_NAME, clients=1, seconds=WARM_SECONDS)
        alone = _ask(port, texts, ALONE_NAME, clients=1, most=ALONE)
        say(alone.line())
        _ask(port, texts, TOGETHER_NAME, clients=CLIENTS, seconds=WARM_SECONDS)
        before = _cpu_seconds(process.pid)
        together = _ask(port, texts, TOGETHER_NAME, clients=CLIENTS, seconds=seconds)
        share = (_cpu_seconds(process.pid) - before) / together.seconds
    say(together.line())
    each = 1000 * share / together.per_second if together.milliseconds else float("nan")
    say(f"the server kept {share:.2f} processors busy, {each:.1f} ms for each answer")
    return Load(name, alone, together, share)


@contextmanager
def _server(
    home: Home, chatbot: str, threads: int | None
) -> "Iterator[tuple[int, subprocess.Popen[bytes]]]":
    """Port and process of `triptych serve` with this chatbot alone, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *(sys.executable, "-m", "pipelines.cli", "serve", "--port", str(port)),
        *("--chatbot", chatbot, "--news", "-", "--recommender", "-"),
        *(() if threads is None else ("--threads", str(threads))),
    ]
    with tempfile.TemporaryDirectory() as folder:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TRIPTYCH_")}
        environment = {
            **kept,
            "TRIPTYCH_HOME": str(home.root),
            "TRIPTYCH_DATABASE_URL": f"sqlite:///{folder}/load.db",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "OMP_WAIT_POLICY": "passive",
        }
        log = Path(folder) / "serve.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=file, stderr=subprocess.STDOUT
            )
        try:
            _wait_for(port, process, log)
            yield port, process
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Raises ServiceError where the server ends, or does not answer in START_SECONDS."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    raise ServiceError(f"triptych serve did not come up: {said[-1] if said else 'no word'}")


def _ask(
    port: int,
    texts: Sequence[str],
    name: str,
    *,
    clients: int,
    seconds: float = START_SECONDS,
    most: int | None = None,
) -> Served:
    """Each client writes its next message when it has the answer to the last, for so many seconds
    or, at `most`, so many messages."""
    milliseconds: list[float] = []  # list.append needs no lock
    errors: list[None] = []
    start = time.perf_counter()

    def talk(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for count in range(sys.maxsize if most is None else most):
            if time.perf_counter() - start >= seconds:
                break
            sender = f"{name} {start} {client}.{count // MATTER}"
            text = texts[(client * 7919 + count) % len(texts)]
            body = json.dumps({"sender": sender, "message": text})
            began = time.perf_counter()
            try:
                connection.request("POST", PATH, body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
                good = answer.status == 200
            except (OSError, http.client.HTTPException):
                good = False
                connection.close()
            if good:
                milliseconds.append(1000 * (time.perf_counter() - began))
            else:
                errors.append(None)
        connection.close()

    asking = [threading.Thread(target=talk, args=(client,)) for client in range(clients)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    took = time.perf_counter() - start
    return Served(name, tuple(sorted(milliseconds)), len(errors), took)


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process, all its threads; Linux tells it in /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
