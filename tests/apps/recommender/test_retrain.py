"""Retraining: the candidate learns what the live version lacks, is judged on the last days alone,
and goes live with everything that was sent to the live one, or stays out with the reason."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from apps.recommender import recommender
from apps.recommender.importing import import_events
from apps.recommender.live import open_live
from apps.recommender.recommender import Recommender
from pipelines.retrain import Retrained, Shop, retrain
from shared.device import Device
from shared.errors import DataError
from shared.evaluation.gate import GateLimits
from shared.evaluation.report import Report
from shared.inference import runtime
from shared.registry import Registry
from shared.settings import Home
from shared.training.options import TrainOptions
from tests.apps.recommender.conftest import publish

NOW = datetime(2024, 6, 15, tzinfo=UTC)
PER_SHELF = 8
SETTINGS = """
[recommender]
held_out = "last"
[recommender.sequence]
dimensions = 16
hidden = 16
epochs = 12
least_steps = 0
batch_size = 32
negatives = 32
learning_rate = 3e-3
dropout = 0.0
[recommender.ranking]
candidates = 20
shrink = 1.0
rounds = 20
"""


def clock() -> datetime:
    return NOW


def grown_log(old: pd.DataFrame) -> pd.DataFrame:
    """The shop's log, then two later items of each customer, three weeks apart: the next ones of
    the shelf, as everybody takes them."""
    rows = []
    for user, own in old.groupby("user_id"):
        last = str(own["item_id"].iloc[-1])
        shelf, number = last.rstrip("0123456789"), int(last[-1])
        for step, day in ((1, 0), (2, 21)):
            item = f"{shelf}{(number + step) % PER_SHELF}"
            at = datetime(2024, 5, 20, tzinfo=UTC) + timedelta(days=day)
            rows.append((user, item, at.isoformat(), "buy"))
    later = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "event"])
    return pd.concat([old, later], ignore_index=True)


@pytest.fixture
def shop_of(shop_files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    (tmp_path / "triptych.toml").write_text(SETTINGS)
    monkeypatch.setenv("TRIPTYCH_SETTINGS", str(tmp_path / "triptych.toml"))
    grown_log(pd.read_csv(shop_files[1])).to_csv(tmp_path / "events.csv", index=False)
    return Shop(shop_files[0], tmp_path / "events.csv", {}, days=7)


def run(shop: Shop, home: Home, base: Path, limits: GateLimits = GateLimits()) -> Retrained:
    return retrain(
        "shop", shop, home=home, limits=limits, must_pass=None, clock=clock, say=lambda _: None,
        options=TrainOptions(method="frozen", base=str(base), threads=1, device="cpu"),
    )  # fmt: skip


def test_a_candidate_that_is_no_worse_goes_live_and_has_everything(
    shop_of: Shop,
    published: Home,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Sent to the live version and in no file: the one before the cut is learnt, the one after it
    # judges. The third is in the file, which has no fractions of a second.
    logged = pd.read_csv(shop_of.events).iloc[0]
    sent = tmp_path / "sent.csv"
    sent.write_text(
        "user_id,item_id,timestamp,event\nguest,tea2,2024-06-01,buy\nguest,tea1,2024-06-09,buy\n"
        f"{logged['user_id']},{logged['item_id']},"
        f"{str(logged['timestamp']).replace('+00:00', '')}.25,buy\n"
    )
    live = open_live(published.models / "shop" / "1", home=published, clock=clock)
    import_events(live, sent, {})
    devices: list[str] = []

    def told(wanted: Device) -> str:
        devices.append(wanted)
        return "cpu"

    with monkeypatch.context() as patch:
        for module in (runtime, recommender):
            patch.setattr(module, "serving_device", told)
        done = run(shop_of, published, tiny_encoder)
    # The live version, the encoder that trains, the candidate, and it again with what it is given.
    assert devices == ["cpu"] * 4
    assert done.promoted, done.lines
    assert done.why == (
        "shop@2 is in production, in place of shop@1; back with `triptych models rollback shop`"
    )
    assert any("paired bootstrap over 161 users" in line for line in done.lines)
    assert any("simplest rivals: NDCG@10 against the best rival" in line for line in done.lines)
    assert done.page is not None
    assert Path(done.page).is_file()
    version = Registry(published.models, clock).resolve("shop")
    assert version.version == 2
    trained = Recommender.load(version.path, home=published, threads=1)
    served = open_live(version.path, home=published, clock=clock).current()
    # It learned nothing of the days that it was judged on, and serves them all the same.
    assert len(trained.bundle.log) == len(pd.read_csv(shop_of.events)) - 160 + 1
    assert trained.history("guest")["item_id"].tolist() == ["tea2"]
    # A purchase weighs 8, twice the same one the most that a pair may weigh, 10.
    assert set(trained.history(str(logged["user_id"]))["weight"]) == {8.0}
    assert len(served.bundle.log) == len(pd.read_csv(shop_of.events)) + 2
    assert served.history("guest")["item_id"].tolist() == ["tea1", "tea2"]
    assert not list((published.root / "work").iterdir())
    # Judged days count as known now: there is nothing new until somebody acts.
    again = run(shop_of, published, tiny_encoder, GateLimits(least_rows=162))
    assert again.candidate is None
    assert again.why == (
        "161 users have acted since 2024-06-03 00:00 UTC and 162 are needed to judge by ([gate] "
        "least_rows): not trained"
    )
    assert Registry(published.models, clock).rollback("shop").version == 1


def test_what_is_offered_again_is_compared_too(
    shop_files: tuple[Path, Path],
    habitual: tuple[Path, Report],
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the last day everybody has again what they come back for, and half of them a new item."""
    (tmp_path / "triptych.toml").write_text(SETTINGS.replace('"last"', '"time"'))
    monkeypatch.setenv("TRIPTYCH_SETTINGS", str(tmp_path / "triptych.toml"))
    home = publish(shutil.copytree(habitual[0], tmp_path / "trained"), tmp_path, "shop")
    old = pd.read_csv(habitual[0].parent / "events.csv")
    rows = []
    for row, (user, own) in enumerate(old.groupby("user_id")):
        shelf = str(own["item_id"].iloc[0]).rstrip("0123456789")
        for item in (f"{shelf}{PER_SHELF - 1}", "cold")[: 1 + row % 2]:
            rows.append((user, item, "2024-08-15T10:00:00+00:00", "buy"))
    later = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "event"])
    pd.concat([old, later]).to_csv(tmp_path / "events.csv", index=False)
    done = retrain(
        "shop", Shop(shop_files[0], tmp_path / "events.csv", {}, days=7), home=home,
        limits=GateLimits(), must_pass=None, clock=lambda: datetime(2024, 9, 1, tzinfo=UTC),
        say=lambda _: None,
        options=TrainOptions(method="frozen", base=str(tiny_encoder), threads=1),
    )  # fmt: skip
    assert done.candidate is not None
    lines = "\n".join(done.lines)
    assert "80 new pairs of 80 users" in lines
    assert "160 pairs taken again" in lines
    assert "NDCG@10: 0." in lines
    assert "NDCG@10, new or again: 0." in lines
    assert "paired bootstrap over 160 users" in lines


def test_a_candidate_that_is_worse_stays_out(
    shop_of: Shop,
    published: Home,
    trained: tuple[Path, Report],
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The training gives a model that takes each item for another one."""
    copy = shutil.copytree(trained[0], tmp_path / "mistaken")
    items = pd.read_parquet(copy / "items.parquet")
    ids = np.roll(items["item_id"].to_numpy(), PER_SHELF)
    items.assign(item_id=ids).to_parquet(copy / "items.parquet", index=False)
    registry = Registry(published.models, clock)

    def mistaken(*_: object, **__: object) -> SimpleNamespace:
        version = registry.publish("shop", copy, app="recommender", metrics={})
        return SimpleNamespace(version=version)

    monkeypatch.setattr("pipelines.retrain.train", mistaken)
    done = run(shop_of, published, tiny_encoder)
    assert not done.promoted
    assert done.why.startswith("shop@2 stays out: NDCG@10 (failed)")
    assert "simplest rivals (failed)" in done.why
    assert registry.resolve("shop").version == 1
    assert [version.version for version in registry.versions("shop")] == [1, 2]


def test_a_log_without_times_cannot_be_held_out(
    shop_of: Shop, published: Home, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "log.txt").write_text("ann tea1 tea2\n")
    with pytest.raises(DataError) as caught:
        run(Shop(shop_of.items, tmp_path / "log.txt", {}, 7), published, tiny_encoder)
    assert str(caught.value) == (
        f"{tmp_path}/log.txt: has no times, so that the last days cannot be held out"
    )
