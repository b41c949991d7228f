"""A training through the pipeline: its journal, and what each tracker is left with, for real."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from pipelines.train import Trained, train
from shared.errors import ModelError, SettingsError
from shared.evaluation.model_card import Purpose
from shared.evaluation.report import Measure, Report
from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.run_journal import State, find_run
from shared.settings import Home
from shared.training.batches import HeadTask
from shared.training.examples import Examples
from shared.training.finetune import finetune_classifier
from shared.training.options import Tracking, TrainOptions
from shared.training.tracking import TrainingSettings, tensorboard_folder

OPTIONS = TrainOptions(
    method="full", epochs=3, batch_size=16, learning_rate=5e-3, progress=False, threads=1
)

PURPOSE = Purpose("Telling tones apart.", "anything else.", ())


@dataclass(frozen=True)
class ToneRecipe:
    """The smallest application: one head on a random encoder."""

    encoder: Path
    app: str = "chatbot"
    sources: tuple[tuple[str, Path], ...] = ()
    purpose: Purpose = PURPOSE

    def fit(
        self, folder: Path, *, options: TrainOptions, home: Home, say: Callable[[str], None]
    ) -> Report:
        del home
        rng = random.Random(1)
        words = {"bad": "loss", "good": "profit"}
        labels = [rng.choice(sorted(words)) for _ in range(128)]
        texts = tuple(f"the {words[label]} {rng.choice(['a', 'my', 'is'])}" for label in labels)
        part = Examples(texts, tuple((label,) for label in labels), np.arange(128))
        task = HeadTask(HeadSpec("tone", "single", ("bad", "good")), part, part)
        base = PretrainedEncoder("tiny", self.encoder, "", "0" * 64, "none")
        done = finetune_classifier(
            [task], encoder=base, options=options, folder=folder / "encoder", say=say
        )
        measure = Measure("accuracy", done.history[-1].metrics["accuracy"], None, None, 128)
        return Report("Tone", self.app, "tone", "128 rows", (measure,))


def trained(home: Path, encoder: Path, tracking: Tracking) -> Trained:
    return train(
        ToneRecipe(encoder),
        name="tone",
        options=OPTIONS,
        home=Home(home),
        clock=lambda: datetime.now(UTC),
        say=lambda _: None,
        tracking=TrainingSettings(tracking=tracking),
    )


def test_a_training_leaves_a_finished_run_with_its_report(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    done = trained(tmp_path, tiny_encoder, "none")
    run = find_run(tmp_path / "runs", "tone")
    assert run.state is State.FINISHED
    assert run.model == "tone@1"
    assert run.figures == done.report.metrics
    assert len(run.evaluations) == 3
    assert run.options["learning_rate"] == 5e-3
    assert Report.from_json((run.folder / "report.json").read_text()) == done.report
    assert not (tmp_path / "runs" / "tone" / "checkpoints").exists()
    assert not list((tmp_path / "work").iterdir())


def test_a_training_cut_off_before_it_is_published_trains_no_step_again(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.train.Registry.publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trained(tmp_path, tiny_encoder, "none")
    monkeypatch.setattr("transformers.Trainer.train", lambda *_, **__: pytest.fail("trained again"))
    done = trained(tmp_path, tiny_encoder, "none")
    assert done.version.reference == "tone@1"
    assert done.report.metrics["accuracy"] == 1
    assert not list((tmp_path / "runs" / "tone").glob("checkpoints*"))


def test_a_name_of_another_application_is_refused_before_training(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    trained(tmp_path, tiny_encoder, "none")
    with pytest.raises(ModelError, match="tone is already the name of a model for chatbot"):
        train(
            ToneRecipe(tiny_encoder, app="news"),
            name="tone",
            options=OPTIONS,
            home=Home(tmp_path),
            clock=lambda: datetime.now(UTC),
            say=lambda _: pytest.fail("training has begun"),
        )


def test_tensorboard_gets_curves_figures_and_the_manifest(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    done = trained(tmp_path, tiny_encoder, "tensorboard")
    run = find_run(tmp_path / "runs", "tone")
    accumulators = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(tensorboard_folder(run.folder)))
    events.Reload()
    assert {"train/loss", "eval/macro_f1", "final/accuracy"} <= set(events.Tags()["scalars"])
    final = events.Scalars("final/accuracy")[0].value
    assert final == pytest.approx(done.report.metrics["accuracy"])
    texts = {name: events.Tensors(name)[0] for name in events.Tags()["tensors"]}
    manifest = texts["manifest.json/text_summary"].tensor_proto.string_val[0].decode()
    assert '"name": "tone"' in manifest
    assert b"learning_rate = 0.005" in texts["recipe/text_summary"].tensor_proto.string_val[0]


# MLflow lives in a process of its own here: it leaves handlers and threads behind, and makes its
# tables by a loader that SQLAlchemy 2.1 warns of.
JOB = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_tracking
test_tracking.trained(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
"""


def in_a_process(
    home: Path, encoder: Path, tracking: str, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-c", JOB, str(Path(__file__).parent)]
    return subprocess.run(
        [*command, str(home), str(encoder), tracking],
        env={**os.environ, **environment},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def test_mlflow_gets_recipe_curves_figures_and_the_manifest(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    pytest.importorskip("mlflow")
    home = tmp_path / "home"
    done = in_a_process(home, tiny_encoder, "mlflow", {"MLFLOW_TRACKING_URI": ""})
    assert done.returncode == 0, done.stderr
    run = find_run(home / "runs", "tone")
    look = (
        "import mlflow, json, sys\n"
        f"client = mlflow.MlflowClient('sqlite:///{home}/mlflow.db')\n"
        f"run = client.get_run('{(run.folder / 'mlflow_run.txt').read_text()}')\n"
        "curve = [(m.step, m.value) for m in"
        " client.get_metric_history(run.info.run_id, 'eval_macro_f1')]\n"
        "json.dump([run.info.status, run.data.params, run.data.metrics, curve,"
        " run.info.artifact_uri], sys.stdout)"
    )
    seen = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", look], capture_output=True, text=True, check=True
    )
    status, parameters, metrics, curve, artifacts = json.loads(seen.stdout)
    assert status == "FINISHED"
    assert parameters["recipe/learning_rate"] == "0.005"
    assert metrics["final/accuracy"] == pytest.approx(run.figures["accuracy"])
    assert curve == [[e.step, pytest.approx(e.metrics["macro_f1"])] for e in run.evaluations]
    kept = {path.name for path in Path(artifacts.removeprefix("file://")).iterdir()}
    assert kept == {"manifest.json", "report.json"}
    assert artifacts.startswith((home / "mlflow").as_uri())


def test_wandb_keeps_an_offline_run_in_the_run_s_folder(tmp_path: Path, tiny_encoder: Path) -> None:
    pytest.importorskip("wandb")
    home = tmp_path / "home"
    done = in_a_process(home, tiny_encoder, "wandb", {"WANDB_MODE": "offline"})
    assert done.returncode == 0, done.stderr
    run = find_run(home / "runs", "tone")
    (kept,) = (run.folder / "wandb").glob("offline-run-*/run-*.wandb")
    log = kept.read_bytes()
    for part in (b"recipe/learning_rate", b"eval/macro_f1", b"final/accuracy", b"manifest.json"):
        assert part in log


def test_a_tracker_that_is_not_installed_is_named_with_the_way_out(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.training.tracking.find_spec", lambda _: None)
    with pytest.raises(SettingsError) as caught:
        trained(tmp_path, tiny_encoder, "mlflow")
    assert str(caught.value) == (
        '[training] tracking = "mlflow": mlflow is not installed; pip install "triptych[mlflow]", '
        'or set tracking = "none"'
    )


def test_an_mlflow_server_that_does_not_answer_is_one_line(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    pytest.importorskip("mlflow")
    nowhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = in_a_process(tmp_path / "home", tiny_encoder, "mlflow", nowhere)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("shared.errors.ServiceError: MLflow at http://127.0.0.1:9: ")


def test_a_training_that_is_killed_goes_on_in_the_same_run(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    slow = JOB.replace(
        "import test_tracking\n",
        "import test_tracking, time\n"
        "from shared.training import runs\n"
        "class Slow(runs.EpochLines):\n"
        "    def on_step_end(self, *args, **kwargs):\n"
        "        time.sleep(0.2)\n"
        "runs.EpochLines = Slow\n",
    )
    command = [sys.executable, "-c", slow, str(Path(__file__).parent), str(tmp_path)]
    process = subprocess.Popen([*command, str(tiny_encoder), "none"])
    try:
        while not list((tmp_path / "runs").glob("tone/checkpoints/checkpoint-8/manifest.json")):
            assert process.poll() is None, "the run ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    broken = find_run(tmp_path / "runs", "tone")
    assert broken.state is State.BROKEN
    trained(tmp_path, tiny_encoder, "none")
    run = find_run(tmp_path / "runs", "tone")
    assert (run.state, run.run, run.attempts) == (State.FINISHED, broken.run, 2)
    assert [e.step for e in run.evaluations] == [8, 16, 24]
    assert [point.step for point in run.losses] == list(range(1, 25))
