"""A hub id is loaded from whatever speaks the hub's language, and the second time without it.

The client reads its environment when it is imported, so each test asks from a process of its own.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
from pathlib import Path
from shared.errors import TriptychError
from shared.pretrained import resolve
try:
    print(resolve(sys.argv[1], cache=Path(sys.argv[2])).path)
except TriptychError as error:
    print(type(error).__name__, error)
"""


class Hub(ThreadingHTTPServer):
    """The few calls that huggingface_hub makes for the repository acme/tiny."""

    def __init__(self, folder: Path) -> None:
        self.files = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
        self.files["pytorch_model.bin"] = b"a pickle"
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        return

    def _answer(self, *, with_body: bool) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        headers, body, status = {}, b"{}", 200
        if path in (f"/api/models/acme/tiny/revision/{r}" for r in ("main", COMMIT)):
            body = json.dumps({"id": "acme/tiny", "sha": COMMIT, "siblings": []}).encode()
        elif path == f"/api/models/acme/tiny/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": n, "size": len(c), "oid": hashlib.sha1(c).hexdigest()}
                for n, c in self.server.files.items()
            ]
            body = json.dumps(entries).encode()
        elif path.startswith(f"/acme/tiny/resolve/{COMMIT}/"):
            body = self.server.files[path.rsplit("/", 1)[1]]
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(body).hexdigest()}"'}
        elif path != "/api/models":
            status, headers = 404, {"X-Error-Code": "RepoNotFound"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def hub(tiny_encoder: Path) -> Iterator[Hub]:
    server = Hub(tiny_encoder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(name: str, folder: Path, endpoint: str) -> str:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environ |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf")}
    environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-c", PROGRAM, name, str(folder / "cache")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["acme/tiny", f"acme/tiny@{COMMIT}"])
def test_a_hub_id_is_downloaded_and_then_found_without_the_hub(
    hub: Hub, tmp_path: Path, tiny_encoder: Path, name: str
) -> None:
    path = Path(ask(name, tmp_path, hub.url))
    assert path.is_relative_to(tmp_path / "hf")
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (path / file).read_bytes() == (tiny_encoder / file).read_bytes()
    assert not (path / "pytorch_model.bin").exists()
    asked = len(hub.asked)
    assert Path(ask(name, tmp_path, hub.url)) == path
    assert len(hub.asked) == asked


def test_a_model_the_hub_does_not_have_is_one_line(hub: Hub, tmp_path: Path) -> None:
    assert ask("acme/nosuch", tmp_path, hub.url) == (
        f"ModelNotFoundError acme/nosuch: {hub.url} has no such model"
    )


def test_a_hub_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    said = ask("acme/tiny", tmp_path, "http://127.0.0.1:9")
    assert said.startswith("ServiceError the model hub http://127.0.0.1:9 is not reached: ")
    assert "\n" not in said
