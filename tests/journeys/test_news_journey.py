"""From labelled headlines to mailed alerts, and one round over real feeds, by the real command."""

import email
import functools
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from email import policy
from pathlib import Path

import pandas as pd
import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SAMPLES = Path(__file__).resolve().parents[2] / "data" / "samples" / "news"


def test_predictions_have_the_contract_columns(triptych: Run, tmp_path: Path) -> None:
    texts = ["Shares plunge after bank admits fraud", "", "Company to publish results on Monday"]
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "in.parquet")
    done = triptych(
        "predict", "news", "--model", "news", "--input", tmp_path / "in.parquet",
        "--output", tmp_path / "out.parquet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = pd.read_parquet(tmp_path / "out.parquet")
    assert list(out.columns) == [
        "text", "sentiment", "p_negative", "p_neutral", "p_positive", "topics", "topic_scores",
    ]  # fmt: skip
    assert list(out["text"]) == texts
    assert out["sentiment"][0] == "negative"
    total = out[["p_negative", "p_neutral", "p_positive"]].sum(axis=1)
    assert total.to_numpy() == pytest.approx(1, abs=1e-4)
    assert set(json.loads(out["topic_scores"][0])) >= {"Banks", "Energy"}


@pytest.fixture(scope="module")
def replayed(triptych: Run, inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("replayed")
    done = triptych(
        "news", "replay", "--items", inputs / "stream.csv", "--model", "news",
        "--output", output, "--from", "2025-02-01", "--to", "2025-03-20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return output


def test_a_replay_finds_the_scripted_crises_and_mails_them(replayed: Path) -> None:
    alerts = [json.loads(row) for row in (replayed / "alerts.jsonl").read_text().splitlines()]
    assert {"topic", "opened_at", "severity", "score", "negative", "total", "expected", "share",
            "headlines"} <= set(alerts[0])  # fmt: skip
    crises = pd.read_csv(SAMPLES / "crises.csv")
    large = crises[(crises["should_alert"] == "yes") & crises["topic"].isin(["Airlines", "Energy"])]
    for crisis in large.itertuples():
        found = [
            alert
            for alert in alerts
            if alert["topic"] == crisis.topic and crisis._5 <= alert["opened_at"] < crisis.to
        ]
        assert found, crisis.name
    # One as each opens; others follow where it becomes more severe.
    mails = sorted((replayed / "outbox").glob("*.r1.*.eml"))
    assert len(mails) == len(alerts)
    message = email.message_from_bytes(mails[0].read_bytes(), policy=policy.default)
    assert [part.get_content_type() for part in message.walk()].count("image/png") == 1


def test_the_same_replay_gives_the_same_alerts(
    triptych: Run, inputs: Path, replayed: Path, tmp_path: Path
) -> None:
    done = triptych(
        "news", "replay", "--items", inputs / "stream.csv", "--model", "news",
        "--output", tmp_path, "--from", "2025-02-01", "--to", "2025-03-20",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "alerts.jsonl").read_bytes() == (replayed / "alerts.jsonl").read_bytes()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def feed_server() -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(SAMPLES / "feeds"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_one_round_reads_all_feeds_once_and_a_bad_one_is_a_line(
    home: Path, feed_server: str, tmp_path: Path
) -> None:
    feeds = [f"{feed_server}/{path.name}" for path in sorted((SAMPLES / "feeds").iterdir())]
    environment = {
        **os.environ,
        "TRIPTYCH_HOME": str(home),
        "TRIPTYCH_DATABASE_URL": f"sqlite:///{tmp_path / 'news.db'}",
        "TRIPTYCH_NEWS__FEEDS": json.dumps([*feeds, f"{feed_server}/nosuch.rss"]),
        "TRIPTYCH_NEWS__FETCH__ALLOW_HOSTS": json.dumps([feed_server.removeprefix("http://")]),
    }

    def once() -> dict[str, object]:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("triptych")), "news", "once", "--json"],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        report: dict[str, object] = json.loads(done.stdout)
        return report

    first = once()
    assert isinstance(first["new"], int)
    assert first["new"] > 60
    assert first["labelled"] == first["new"] - first["copies"]  # type: ignore[operator]
    assert any("nosuch.rss" in line for line in first["lines"])  # type: ignore[attr-defined]
    assert once()["new"] == 0
