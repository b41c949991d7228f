"""From a catalogue and a log to tonight's lists, by the real command."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_every_user_gets_k_items_with_a_reason_unseen_but_for_what_is_bought_again(
    triptych: Run, inputs: Path, tmp_path: Path
) -> None:
    done = triptych("recommend", "--model", "recommender", "-k", "5", "--output",
                    tmp_path / "tonight.parquet")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = pd.read_parquet(tmp_path / "tonight.parquet")
    assert list(rows.columns) == ["user_id", "item_id", "rank", "score", "reason"]
    assert (rows.groupby("user_id").size() == 5).all()
    assert (rows.groupby("user_id")["rank"].apply(list).map(tuple) == (1, 2, 3, 4, 5)).all()
    assert (rows["reason"].str.len() > 0).all()
    items = pd.read_csv(inputs / "items.csv")
    assert set(rows["item_id"]) <= set(items["item_id"])
    log = pd.read_csv(inputs / "events.csv")
    again = rows["reason"].str.startswith("again: had ")
    for listed, events in ((rows[~again], log), (rows[again], log[log["event"] == "buy"])):
        known = set(zip(events["user_id"], events["item_id"], strict=True))
        pairs = set(zip(listed["user_id"], listed["item_id"], strict=True))
        assert pairs & known == (set() if events is log else pairs)


def test_only_the_users_of_a_file_in_its_order_new_ones_included(
    triptych: Run, inputs: Path, tmp_path: Path
) -> None:
    known = pd.read_csv(inputs / "events.csv")["user_id"].drop_duplicates().tolist()[:3]
    wanted = [known[2], "somebody-new", known[0]]
    pd.DataFrame({"customer": wanted}).to_csv(tmp_path / "users.csv", index=False)
    done = triptych(
        "recommend", "--model", "recommender", "-k", "3", "--users", tmp_path / "users.csv",
        "--user-column", "customer", "--output", tmp_path / "few.csv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = pd.read_csv(tmp_path / "few.csv")
    assert rows["user_id"].drop_duplicates().tolist() == wanted
