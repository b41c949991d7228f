"""A trial from its lists to its result, on two released versions."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.trial import parsed_arms, trial_lists
from shared.errors import DataError
from shared.evaluation.report import Report
from shared.registry import Registry
from shared.settings import Home

Command = Callable[..., Result]


@pytest.fixture
def command(published: Home, trained: tuple[Path, Report], tmp_path: Path) -> Command:
    """`triptych recommender trial …` in a home with shop@1 and shop@2, which are alike."""
    copy = shutil.copytree(trained[0], tmp_path / "again")
    Registry(published.models, lambda: pd.Timestamp("2024-01-02", tz="UTC")).publish(
        "shop", copy, app="recommender", metrics={}
    )

    def run(*words: str | Path) -> Result:
        return CliRunner().invoke(
            app, ["recommender", "trial", *map(str, words), "--home", str(published.root)]
        )

    return run


def test_a_split_from_lists_to_result(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "lists.parquet"
    arms = ("--arm", "shop@1", "--arm", "shop@2")
    done = command("lists", "--name", "spring", *arms, "-k", "3", "--output", file)
    assert done.exit_code == 0, done.output
    lists = pd.read_parquet(file)
    assert len(lists) == 480
    assert set(lists["arm"]) == {"shop@1", "shop@2"}
    assert lists.groupby("user_id")["arm"].nunique().max() == 1
    # Everybody of the second arm buys the first item listed, every fourth of the first one.
    top = lists[lists["rank"] == 1]
    second = top[top["arm"] == "shop@2"]
    first = top[top["arm"] == "shop@1"].iloc[::4]
    events = pd.concat([first, second]).assign(timestamp="2124-07-02", event="buy")
    early = top.assign(timestamp="2124-06-30", event="buy")  # before the lists went live
    pd.concat([events, early])[["user_id", "item_id", "timestamp", "event"]].to_csv(
        tmp_path / "log.csv", index=False
    )
    asked = (
        "result",
        "--lists",
        file,
        "--events",
        tmp_path / "log.csv",
        "--from",
        "2124-06-30T12:00",
    )
    done = command(*asked, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    counts = top["arm"].value_counts()
    assert [arm["users"] for arm in found["arms"]] == [counts["shop@1"], counts["shop@2"]]
    rate = found["effects"][0]
    assert rate["value"] == pytest.approx(1 - len(first) / counts["shop@1"])
    assert found["effects"][1]["second"] == pytest.approx(8.0)  # a purchase of each
    # Turned round, the same with the other sign; of another type nothing counts.
    done = command(*asked, "--arm", "shop@2", "--arm", "shop@1", "--json")
    assert json.loads(done.stdout)["effects"][0]["value"] == pytest.approx(-rate["value"])
    done = command(*asked, "--event", "view", "--json")
    assert json.loads(done.stdout)["events"] == 0
    # By default all that came after the lists; what came before them is no answer to them.
    done = command(*asked[:-2], "--json")
    assert json.loads(done.stdout)["events"] == len(events) + len(early)
    # A day alone is all of it, whether the first or the last.
    done = command(*asked[:-1], "2124-07-02", "--to", "2124-07-02", "--json")
    assert json.loads(done.stdout)["events"] == len(events)
    done = command(*asked[:-2], "--to", "2124-07-01", "--json")
    assert json.loads(done.stdout)["events"] == len(early)
    done = command(*asked, "--to", "soon")
    assert done.exit_code == 2
    assert "'soon' is no time; write 2026-03-11 or" in done.output
    done = command(*asked[:-1], "2024-01-01")
    assert isinstance(done.exception, DataError)
    assert "what users did before cannot be an answer to them" in str(done.exception)


def test_interleaved_lists_are_known_as_such(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "lists.csv"
    done = command("lists", "--name", "t", "--arm", "shop@1", "--arm", "shop@2", "-k", "4",
                   "--interleave", "--output", file)  # fmt: skip
    assert done.exit_code == 0, done.output
    lists = pd.read_csv(file)
    assert (lists.groupby("user_id")["arm"].value_counts() == 2).all()
    lists[lists["arm"] == "shop@2"].assign(timestamp="2124-07-02", event="buy")[
        ["user_id", "item_id", "timestamp", "event"]
    ].to_csv(tmp_path / "log.csv", index=False)
    done = command("result", "--lists", file, "--events", tmp_path / "log.csv",
                   "--from", "2124-07-01")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "160 users prefer shop@2, 0 prefer shop@1, 0 neither" in done.output
    assert "better; a true effect of " in done.output


def test_how_many_users_a_trial_needs(command: Command) -> None:
    done = command("size", "--rate", "0.1", "--effect", "0.02")
    assert done.output == (
        "3,841 users in each of two arms to see 10.00% become 12.00%\n"
    )  # fmt: skip
    assert command("size", "--rate", "0.9", "--effect", "0.2").exit_code == 2


def test_shares_are_given_for_all_arms_or_none() -> None:
    assert parsed_arms(["a@1", "a@2"]) == [("a@1", 0.5), ("a@2", 0.5)]
    assert parsed_arms(["a@1=0.9", "a@2=0.1"]) == [("a@1", 0.9), ("a@2", 0.1)]
    with pytest.raises(DataError) as caught:
        parsed_arms(["a@1=0.9", "a@2"])
    assert str(caught.value) == (
        "arms a@1=0.9, a@2: expected NAME@VERSION for each, or NAME@VERSION=SHARE for each"
    )


def test_one_version_is_no_trial(published: Home, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^arms shop@1, shop@1: expected different versions$"):
        trial_lists(
            "t", ["shop@1", "shop"], interleave=False, users=None, k=3, home=published, threads=1,
            output=tmp_path / "x.csv", clock=lambda: pd.Timestamp("2024-01-02", tz="UTC"),
        )  # fmt: skip
