"""The trained shop as a customer of the serving class sees it."""

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.recommender.batch import run_batch
from apps.recommender.bundle import MEANING_INDEX, load_bundle, save_bundle
from apps.recommender.quality import Targets, judge
from apps.recommender.recipe import evaluate
from apps.recommender.recommender import COLUMNS, Recommender
from apps.recommender.settings import RuleSettings
from shared.errors import DataError, ModelError
from shared.evaluation.report import Report
from shared.inference.vector_index import VectorIndex
from shared.settings import Home


def shelf(item_id: str) -> str:
    return item_id.rstrip("0123456789")


def silent(_: str) -> None:
    pass


def test_a_list_has_the_columns_of_the_contract(shop: Recommender) -> None:
    frame = shop.recommend(["customer003"], 5)
    assert tuple(frame.columns) == COLUMNS
    assert frame["rank"].tolist() == [1, 2, 3, 4, 5]
    assert frame["score"].is_monotonic_decreasing
    assert (frame["reason"] != "").all()


def test_customers_get_their_own_shelf_and_nothing_they_have(shop: Recommender) -> None:
    own = 0
    for user in shop.users[:40]:
        had = set(shop.history(user)["item_id"])
        listed = shop.recommend([user], 3)["item_id"].tolist()
        assert not had & set(listed)
        own += sum(shelf(item) == shelf(next(iter(had))) or item == "cold" for item in listed)
    assert own / 120 > 0.9


def test_what_was_had_comes_back_when_asked_for(shop: Recommender) -> None:
    user = shop.users[0]
    had = set(shop.history(user)["item_id"])
    assert had & set(shop.recommend([user], 20, include_seen=True)["item_id"])


def test_a_new_item_is_reached_through_its_text(shop: Recommender) -> None:
    assert shop.bundle.log.counts[shop.item_rows["cold"]] == 0
    tea = [u for u in shop.users if shelf(shop.history(u)["item_id"].iloc[0]) == "tea"]
    listed = shop.recommend(tea, 10)
    assert "cold" in set(listed["item_id"])
    found = shop.sources(listed[listed["item_id"] == "cold"]["user_id"].iloc[0], 10)
    channels = found[found["item_id"] == "cold"]["channels"].iloc[0].split("|")
    assert "together" not in channels
    assert set(channels) <= {"sequence", "words", "meaning"}


def test_a_new_user_gets_what_is_popular(shop: Recommender) -> None:
    frame = shop.recommend(["stranger"], 4)
    best = [shop.bundle.catalog.ids[i] for i in shop.bundle.channels.order[:4]]
    assert frame["item_id"].tolist() == best
    assert set(frame["reason"]) == {"popular in the last 30 days"}


def test_users_come_in_the_order_asked_for_one_after_another(shop: Recommender) -> None:
    asked = ["customer009", "stranger", "customer002", "customer150"]
    frame = shop.recommend(asked, 3)
    assert frame["user_id"].tolist() == [user for user in asked for _ in range(3)]
    for user in asked:
        alone = shop.recommend([user], 3)
        same = frame[frame["user_id"] == user].reset_index(drop=True)
        assert same["item_id"].tolist() == alone["item_id"].tolist()
        assert same["score"].to_numpy() == pytest.approx(alone["score"].to_numpy(), abs=1e-5)


def test_a_reason_names_an_item_of_the_history_and_is_true(shop: Recommender) -> None:
    """Taken out of the history, the named item takes the listed one down or out of the list."""
    titles = dict(zip(shop.bundle.catalog.titles, shop.bundle.catalog.ids, strict=True))
    log = shop.bundle.log
    lower = judged = 0
    for name in shop.users[:60]:
        user = shop.user_rows[name]
        row = shop.recommend([name], 1).iloc[0]
        if not row["reason"].startswith("because of"):
            continue
        origin = titles[row["reason"].split('"')[1]]
        items = log.items_of(user)
        assert origin in {shop.bundle.catalog.ids[i] for i in items}
        gone = log.starts[user] + int(np.flatnonzero(items == shop.item_rows[origin])[0])
        rest = np.ones(len(log), bool)
        rest[gone] = False
        channels = shop.bundle.channels
        fewer = log.keep(rest)
        asked = channels.__class__(**{**vars(channels), "log": fewer})
        target = shop.item_rows[row["item_id"]]
        before = _fused(shop, channels, user, target)
        after = _fused(shop, asked, user, target)
        judged += 1
        lower += after < before + 1e-6
    assert judged > 30
    assert lower / judged > 0.9


def _fused(shop: Recommender, channels: object, user: int, item: int) -> float:
    """Sum of the channels' raw scores of one item, each weighed as the fusion does."""
    from apps.recommender.listing import ask

    asked = ask(channels, np.array([user]))  # type: ignore[arg-type]
    scorers = channels.scorers(asked)  # type: ignore[attr-defined]
    pair = (np.array([0]), np.array([item]))
    weights = shop.bundle.ranking.weights[:4]
    scores = [
        float(scorers[n].pairs(*pair)[0]) for n in ("sequence", "together", "words", "meaning")
    ]
    return float(weights @ np.array(scores))


def test_blocked_items_and_category_limits_are_kept(
    shop: Recommender, trained: tuple[Path, Report]
) -> None:
    home = Home(trained[0])
    usual = shop.recommend(["customer000"], 6)["item_id"].tolist()
    strict = Recommender.load(
        trained[0], home=home, rules=RuleSettings(blocked=(usual[0],), per_category=2)
    )
    listed = strict.recommend(["customer000", "stranger"], 6)
    assert usual[0] not in set(listed["item_id"])
    for _, part in listed.groupby("user_id"):
        assert (
            max(pd.Series(map(shelf, part["item_id"])).replace("cold", "tea").value_counts()) <= 2
        )


def test_similar_items_are_of_the_same_shelf(shop: Recommender) -> None:
    near = shop.similar("tea3", 3)
    assert all(shelf(item) == "tea" or item == "cold" for item in near["item_id"])
    with pytest.raises(DataError, match="item 'nothing' is not in the catalogue"):
        shop.similar("nothing")


def test_the_batch_writes_every_user_once_and_in_order(shop: Recommender, tmp_path: Path) -> None:
    output = tmp_path / "lists.parquet"
    done = run_batch(shop, None, k=3, output=output, say=silent, shard_users=50)
    frame = pd.read_parquet(output)
    assert (done.users, done.rows, done.resumed, done.without) == (160, 480, 0, 0)
    assert frame["user_id"].tolist() == [u for u in shop.users for _ in range(3)]
    assert not (tmp_path / "lists.parquet.shards").exists()


def test_a_killed_batch_goes_on_where_it_stopped(
    shop: Recommender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, whole = tmp_path / "lists.parquet", tmp_path / "whole.parquet"
    run_batch(shop, None, k=3, output=whole, say=silent, shard_users=50)
    asked: list[str] = []
    recommend = Recommender.recommend

    def killed_at_the_third(
        self: Recommender, users: list[str], k: int, include_seen: bool, *, day: date
    ) -> pd.DataFrame:
        if len(asked) >= 100:
            raise KeyboardInterrupt
        asked.extend(users)
        return recommend(self, users, k, include_seen, day=day)

    monkeypatch.setattr(Recommender, "recommend", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_batch(shop, None, k=3, output=output, say=silent, shard_users=50)
    monkeypatch.undo()
    assert not output.exists()
    done = run_batch(shop, None, k=3, output=output, say=silent, shard_users=50)
    assert done.resumed == 100
    pd.testing.assert_frame_equal(pd.read_parquet(output), pd.read_parquet(whole))


def test_shards_of_another_run_are_not_taken_over(shop: Recommender, tmp_path: Path) -> None:
    output = tmp_path / "lists.parquet"
    stale = tmp_path / "lists.parquet.shards"
    stale.mkdir()
    (stale / "plan.json").write_text(json.dumps({"model": "another"}))
    (stale / "00000.parquet").write_bytes(b"not even parquet")
    done = run_batch(shop, ["customer001"], k=2, output=output, say=silent)
    assert (done.resumed, done.rows) == (0, 2)


def test_a_batch_of_nobody_is_an_error(shop: Recommender, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        run_batch(shop, [], k=2, output=tmp_path / "x.parquet", say=silent)
    assert str(caught.value) == "no user to recommend to: the list of users is empty"


def test_the_report_stands_beside_rivals_and_says_what_was_held_out(
    trained: tuple[Path, Report],
) -> None:
    report = trained[1]
    named = {m.name: m for m in report.measures}
    assert named["NDCG@10"].n == 80
    assert named["NDCG@10"].value is not None
    assert named["NDCG@10"].value > 0.5
    assert {b.name for b in report.baselines} >= {"popular, all time", "item-kNN", "TF-IDF mean"}
    assert "the last item of 160 users" in report.data
    assert any("leave-last-out flatters" in note for note in report.notes)
    assert any("of the first 10 places are kept for them" in note for note in report.notes)


def test_a_model_is_judged_on_later_events(trained: tuple[Path, Report], tmp_path: Path) -> None:
    later = tmp_path / "later.csv"
    rows = [f"customer{n:03d},tea{n % 8},2024-06-01" for n in range(0, 40, 4)]
    later.write_text("\n".join(["user_id,item_id,timestamp", *rows, "stranger,tea1,2024-06-02"]))
    report = evaluate(trained[0], later, {}, Home(tmp_path))
    assert {m.name for m in report.measures} == {"NDCG@10", "recall@10", "MRR", "coverage"}
    assert any(note.endswith("users are new to the model") for note in report.notes)
    assert any("repeat what the model knows" in note for note in report.notes)


def test_known_events_alone_are_nothing_to_judge_by(
    trained: tuple[Path, Report], shop_files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="are already in the model's own log"):
        evaluate(trained[0], shop_files[1], {}, Home(tmp_path))


def test_a_damaged_folder_is_refused_by_name(trained: tuple[Path, Report], tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(trained[0], folder)
    (folder / "vectors.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(ModelError, match="the model folder is damaged"):
        Recommender.load(folder, home=Home(tmp_path), rules=RuleSettings())
    with pytest.raises(ModelError, match="holds no recommender"):
        Recommender.load(tmp_path, home=Home(tmp_path), rules=RuleSettings())


def test_the_indexes_of_a_large_catalogue_are_kept(shop: Recommender, tmp_path: Path) -> None:
    """Those that are more than the vectors take minutes to build for a million items."""
    bundle = shop.bundle
    save_bundle(bundle, tmp_path / "small")
    assert not (tmp_path / "small" / MEANING_INDEX).exists()
    channels = bundle.channels
    ids = [str(row) for row in range(len(bundle.catalog))]
    meant, moved = (
        VectorIndex.build(
            vectors, ids, kind="ivf_sq", encoder_fingerprint=bundle.encoder.fingerprint
        )
        for vectors in (channels.meaning, channels.moved)
    )
    large = replace(channels, meaning_index=meant, moved_index=moved)
    save_bundle(replace(bundle, channels=large), tmp_path / "large")
    again = load_bundle(tmp_path / "large")
    assert again.channels.meaning_index.kind == again.channels.moved_index.kind == "ivf_sq"
    found = again.channels.moved_index.search(channels.moved, 5)
    assert found.scores == pytest.approx(moved.search(channels.moved, 5).scores)
    own = Recommender(again, RuleSettings(), "again", threads=1)
    users = shop.users[:20]
    listed = own.recommend(users, 5)
    same = listed["item_id"].to_numpy() == shop.recommend(users, 5)["item_id"].to_numpy()
    assert same.mean() > 0.9
    rows = next((tmp_path / "large" / MEANING_INDEX).glob("*.faiss"))
    rows.write_bytes(rows.read_bytes()[:-9])
    with pytest.raises(ModelError, match=rows.name):
        load_bundle(tmp_path / "large")


def test_a_model_folder_holds_no_pickle(trained: tuple[Path, Report]) -> None:
    suffixes = {path.suffix for path in trained[0].rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".parquet", ".safetensors", ".txt"}


def test_figures_of_a_list_by_hand() -> None:
    import scipy.sparse as sp

    wanted = sp.csr_matrix(np.array([[0, 0, 1, 0], [1, 1, 0, 0]], np.float32))
    judged = judge(np.array([[3, 1, 2], [0, -1, -1]]), Targets(np.array([5, 6]), wanted))
    assert judged.ndcg == pytest.approx([0.5, 1 / (1 + 1 / np.log2(3))])
    assert judged.recall.tolist() == [1.0, 0.5]
    assert judged.mrr == pytest.approx([1 / 3, 1.0])
    assert judged.shown == 1.0
