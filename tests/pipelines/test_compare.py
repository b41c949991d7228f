"""A worse version stays out and the report says why; an equal one goes live; force is on record."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from apps.chatbot import comparison
from apps.chatbot.answers import AnswerBook
from apps.chatbot.bot import Bot
from apps.chatbot.held_rows import HeldRows
from apps.chatbot.learning.review import accept, reopen
from apps.chatbot.live import LiveFile
from apps.chatbot.opening import opened_database
from apps.chatbot.questions import read_questions
from apps.chatbot.recipe import ChatbotRecipe
from apps.chatbot.shadow import shadow
from pipelines import compare
from pipelines.compare import TIMED, WARM_UP, compare_on, latency_of
from pipelines.release import Released, release
from pipelines.train import train
from shared.errors import DataError
from shared.evaluation.forgetting import FILE as TEXTS
from shared.evaluation.gate import GateLimits, Latency
from shared.evaluation.race import texts_of_both
from shared.registry import Registry
from shared.settings import Home
from shared.training.options import TrainOptions

INTENTS = {
    "cancel": ("cancel", "order"),
    "refund": ("money", "refund"),
    "arrive": ("when", "arrive"),
    "pay": ("pay", "card"),
}
FILLER = "the a my is was please help hello how will it red blue tea cup shoe bank news".split()


def questions(rows: int, seed: int) -> pd.DataFrame:
    """Each question holds a word of its intent among random ones; no two alike."""
    rng = np.random.default_rng(seed)
    found: dict[str, str] = {}
    while len(found) < rows:
        label = list(INTENTS)[len(found) % len(INTENTS)]
        words = [*rng.choice(FILLER, 5, replace=False), *INTENTS[label]]
        rng.shuffle(words)
        found.setdefault(" ".join(words), label)
    return pd.DataFrame(found.items(), columns=["text", "label"])


def now() -> datetime:
    return datetime(2026, 3, 2, tzinfo=UTC)


def silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class Shop:
    """desk@1 and desk@2 learned the same rows; desk@3 from rows whose refunds are called pay."""

    home: Home
    folder: Path

    @property
    def registry(self) -> Registry:
        return Registry(self.home.models, now)


@pytest.fixture(scope="module")
def shop(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("desk")
    home = Home(folder / "home")
    good = questions(400, seed=1)
    bad = good.assign(label=good["label"].where(np.arange(400) % 4 != 1, "pay"))
    bad.loc[1:20, "label"] = good.loc[1:20, "label"]
    questions(400, seed=2).to_csv(folder / "fresh.csv", index=False)
    for number, table in enumerate((good, good, bad), start=1):
        path = folder / f"examples{number}.csv"
        table.to_csv(path, index=False)
        train(
            ChatbotRecipe([path]),
            name="desk",
            options=TrainOptions(method="frozen", base=str(tiny_encoder), threads=1),
            home=home,
            clock=now,
            say=silent,
        )
    return Shop(home, folder)


@pytest.fixture
def promote(shop: Shop) -> Callable[..., Released]:
    """Promotes a version; production is desk@1 before and after each test."""

    def run(
        version: int,
        *,
        input_file: Path | None = None,
        must_pass: Path | None = None,
        reason: str = "",
        force: bool = False,
        limits: GateLimits = GateLimits(),
    ) -> Released:
        registry = shop.registry
        if not registry.resolve("desk@1").production:
            registry.promote("desk", 1)
        return release(
            registry, "desk", version, input_file=input_file, must_pass=must_pass, mapping={},
            limits=limits, reason=reason, force=force, home=Home(shop.home.root), say=silent,
        )  # fmt: skip

    return run


def test_the_kept_held_out_rows_decide_as_the_bot_does_at_any_risk(shop: Shop) -> None:
    version = shop.registry.resolve("desk@2")
    kept = HeldRows.load(version.path)
    assert kept is not None
    assert len(kept.rows) == 60
    assert sum(kept.examples.values()) == 400  # the rows cut off have taught it since
    bot = Bot.load(version.path, home=shop.home, threads=1)
    asked = pd.read_csv(shop.folder / "fresh.csv")[:150]
    held = read_questions(shop.folder / "fresh.csv", {}, shop.home, silent).examples()
    rows = HeldRows.of(bot, held.take(np.arange(150)))
    for risk in (0.01, 0.05, 0.2, 0.4):
        bot.config = replace(bot.config, alpha=risk)
        replies = bot.reply(asked["text"].tolist())
        decided = rows.decided(risk)
        assert [each.decision for each in decided] == [each.decision for each in replies]
        assert [each.labels for each in decided if each.decision == "clarify"] == [
            tuple(o.label for o in each.options) for each in replies if each.decision == "clarify"
        ]


def test_a_version_of_the_same_rows_would_change_nothing(shop: Shop) -> None:
    one, two = (shop.registry.resolve(f"desk@{n}") for n in (1, 2))
    alike = shadow(two, one)
    assert (alike.n, alike.differences) == (60, ())
    assert all(old == new for old, new in alike.moves)


def test_a_running_bot_takes_a_risk_and_an_answer_with_its_next_message(shop: Shop) -> None:
    version = shop.registry.resolve("desk@1")
    live = LiveFile.of(version, now)
    running = Bot.load(version.path, home=shop.home, threads=1, live=True)
    trained = Bot.load(version.path, home=shop.home, threads=1)
    text = "my money refund"
    assert running.reply([text]) == trained.reply([text])
    try:
        live.choose_risk(0.3, "mia")
        live.edit_answer(
            AnswerBook(), "refund", "en", texts=["Five days."], title="", seen=(), by="mia"
        )
        (said,) = running.reply([text])
        assert (said.decision, said.answer, running.config.alpha) == ("answer", "Five days.", 0.3)
        assert Bot.load(version.path, home=shop.home, threads=1, live=True).reply([text]) == [said]
        live.path.write_text("{")  # by hand, and wrong: the bot goes on as it was
        assert running.reply([text]) == [said]
        assert shop.registry.resolve("desk@1").path == version.path  # every file as published
    finally:
        live.path.unlink()
    assert running.reply([text]) == trained.reply([text])


def test_an_equal_version_goes_live_by_the_held_out_rows_of_both_reports(
    shop: Shop, promote: Callable[..., Released]
) -> None:
    done = promote(2)
    assert done.version.production
    assert done.compared is not None
    assert done.compared.notes[0].startswith("compared on the held-out rows that both reports")
    last = shop.registry.history("desk")[-1]
    assert (last["version"], last["reason"]) == (2, "passed the gate")


@pytest.fixture
def took(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Version -> milliseconds that a reply of it takes, by a clock that nothing else moves."""
    now_is = 0.0
    reply, load = Bot.reply, Bot.load
    milliseconds: dict[int, float] = {}
    version_of: dict[int, int] = {}

    def loaded(folder: Path, **more: Any) -> Bot:
        bot = load(folder, **more)
        version_of[id(bot)] = int(folder.name)
        return bot

    def replied(self: Bot, texts: Sequence[str], **more: Any) -> Any:
        nonlocal now_is
        now_is += milliseconds.get(version_of.get(id(self), 0), 0.0) / 1000
        return reply(self, texts, **more)

    monkeypatch.setattr(Bot, "load", loaded)
    monkeypatch.setattr(Bot, "reply", replied)
    monkeypatch.setattr(compare, "time", SimpleNamespace(perf_counter=lambda: now_is))
    return milliseconds


def test_a_version_four_times_slower_and_above_the_budget_stays_out(
    shop: Shop, promote: Callable[..., Released], took: dict[int, float]
) -> None:
    took.update({1: 30.0, 2: 120.0})
    done = promote(2)
    assert not done.version.production
    assert done.refusal.startswith("desk@2 stays out: latency (failed); see ")
    told = (
        "failed     latency: 120.0 ms for one row, production 30.0 ms: 4.00 times (allowed: 1.5 "
        "times, or 50 ms)"
    )
    assert told in done.lines
    page = (shop.home.reports / "promotion-desk-2" / "comparison.html").read_text()
    assert "120.0 ms for one row, production 30.0 ms" in page


@pytest.mark.parametrize(("production", "candidate"), [(120.0, 120.0), (120.0, 170.0), (5.0, 45.0)])
def test_a_version_as_slow_as_production_or_within_the_budget_goes_live(
    promote: Callable[..., Released],
    took: dict[int, float],
    production: float,
    candidate: float,
) -> None:
    took.update({1: production, 2: candidate})
    done = promote(2)
    assert done.version.production
    (line,) = [line for line in done.lines if "latency" in line]
    assert line.startswith(
        f"passed     latency: {candidate:.1f} ms for one row, production {production:.1f} ms: "
    )


def test_a_candidate_is_too_slow_only_if_it_is_so_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = [(400.0, 100.0), (300.0, 100.0), (350.0, 100.0), (90.0, 100.0)]
    left: list[tuple[float, float]] = []
    monkeypatch.setattr(compare, "latency_of", lambda *_: Latency(*left.pop(0)))
    serve = (silent_rows, silent_rows)

    left[:] = measured[:3]
    assert compare.timed(serve, ["a"], GateLimits()) == Latency(300.0, 100.0)
    left[:] = measured[2:]  # another program ran beside the first timing
    assert compare.timed(serve, ["a"], GateLimits()) == Latency(90.0, 100.0)
    left[:] = measured
    allowed = GateLimits(latency_ratio=4.0)
    assert compare.timed(serve, ["a"], allowed) == Latency(400.0, 100.0)
    assert left == measured[1:]  # once is enough where it is quick enough


def silent_rows(_: Sequence[str]) -> None:
    pass


def test_versions_that_kept_no_common_text_are_not_timed(shop: Shop, tmp_path: Path) -> None:
    """As with texts that all hold personal data: nothing is left to ask both."""
    versions = tuple(shop.registry.resolve(f"desk@{n}").path for n in (1, 2))
    kept = dict.fromkeys(texts_of_both(*versions))
    assert kept
    assert set(kept) <= set(pd.read_csv(shop.folder / "examples1.csv")["text"])
    one, two = (shutil.copytree(path, tmp_path / path.name) for path in versions)
    (one / TEXTS).unlink()
    assert dict.fromkeys(texts_of_both(two, one)) == kept  # kept by one of them
    (two / TEXTS).write_text("{}")
    race = comparison.race(two, one, shop.home)
    assert race.asked == ()
    assert latency_of(race.serve, race.asked) is None


def test_a_version_worse_on_one_label_stays_out_and_the_report_names_it(
    shop: Shop, promote: Callable[..., Released]
) -> None:
    done = promote(3, input_file=shop.folder / "fresh.csv")
    assert not done.version.production
    assert done.refusal.startswith("desk@3 stays out: ")
    assert done.compared is not None
    failed = {c.name for c in done.compared.verdict.checks if c.status == "failed"}
    assert {"intent", "intent, label refund"} <= failed
    assert not failed & {"intent, label cancel", "intent, label arrive"}
    assert shop.registry.resolve("desk").version == 1
    folder = shop.home.reports / "promotion-desk-3"
    page = (folder / "comparison.html").read_text()
    assert "Must not go live." in page
    changes = pd.read_csv(folder / "changes.csv", keep_default_na=False)
    worse = changes[(changes["task"] == "intent") & (changes["better"].astype(str) == "False")]
    assert set(worse["truth"]) == {"refund"}
    assert set(worse["production"]) == {"refund"}
    verdict = json.loads((folder / "verdict.json").read_text())
    assert verdict["passed"] is False


def test_versions_without_common_held_out_rows_are_not_promoted_unjudged(
    shop: Shop, promote: Callable[..., Released]
) -> None:
    limits = GateLimits(least_rows=1000)
    with pytest.raises(DataError, match=r"share \d+ held-out rows and 1000 are needed; give"):
        promote(2, limits=limits)
    assert shop.registry.resolve("desk").version == 1


def test_rows_that_a_version_was_trained_on_judge_nothing(
    shop: Shop, promote: Callable[..., Released]
) -> None:
    done = promote(2, input_file=shop.folder / "examples1.csv")
    assert "intent (failed)" in done.refusal
    assert done.compared is not None
    assert done.compared.notes[1].startswith("400 of 400 rows are copies or near copies of rows")


def test_force_is_on_record_with_what_the_gate_said(
    shop: Shop, promote: Callable[..., Released]
) -> None:
    done = promote(3, input_file=shop.folder / "fresh.csv", force=True, reason="a new tariff")
    assert done.version.production
    reason = shop.registry.history("desk")[-1]["reason"]
    assert reason.startswith("forced: a new tariff; the gate blocked it: intent (failed)")
    assert shop.registry.rollback("desk").version == 1
    promote(3, force=True, reason="in a hurry")
    assert shop.registry.history("desk")[-1]["reason"] == "forced: in a hurry"
    shop.registry.rollback("desk")


def test_a_must_pass_case_blocks(promote: Callable[..., Released], tmp_path: Path) -> None:
    table = tmp_path / "must.csv"
    table.write_text("text,label\ncancel my order please,cancel\nmoney refund help,arrive\n")
    done = promote(2, must_pass=table)
    assert "must-pass cases (failed)" in done.refusal
    named = promote(2, limits=GateLimits(must_pass={"desk": table}))
    assert "must-pass cases (failed)" in named.refusal
    table.write_text("text,label\ncancel my order please,cancel\n")
    assert promote(2, must_pass=table).version.production


def test_what_the_review_accepted_as_must_pass_is_asked_without_a_file(
    shop: Shop, promote: Callable[..., Released], tmp_path: Path
) -> None:
    engine = opened_database(shop.home)

    def teach(text: str, label: str, *, must_pass: bool = True) -> None:
        accept(engine, "desk", [], label=label, typed=[text], must_pass=must_pass, by="lea",
               clock=now)  # fmt: skip

    try:
        teach("Money refund help", "refund")
        teach("when does it arrive", "arrive", must_pass=False)
        done = promote(2)
        assert done.version.production
        assert done.compared is not None
        assert done.compared.notes[1:] == ("must-pass cases: 1 from accepted lessons",)
        teach("cancel my order please", "pay")
        table = tmp_path / "must.csv"
        table.write_text(
            "text,label\nmoney refund help,refund\nwhen does it arrive,pay\npay by card,pay\n"
        )
        done = promote(2, must_pass=table)
        assert not done.version.production
        assert done.compared is not None
        page = (shop.home.reports / "promotion-desk-2" / "comparison.html").read_text()
    finally:
        reopen(engine, "desk", [1, 2, 3])
        engine.dispose()
    assert done.compared.notes[1:] == (
        "must-pass cases: 2 from accepted lessons, 1 from must.csv",
        "1 of the file's cases were decided otherwise in the review, which counts; the first: "
        "'when does it arrive'",
        "a version learns the lessons from `triptych chatbot review export --model desk --output "
        "lessons`; a lesson that is wrong is taken back with `review reopen`",
    )
    (failed,) = done.compared.verdict.blocking
    assert failed.reason.startswith("1 of 3 fail (1 from lessons): 'cancel my order please' gives ")
    verdict = json.loads((shop.home.reports / "promotion-desk-2" / "verdict.json").read_text())
    assert [(each["asked"], each["source"]) for each in verdict["must_pass"]] == [
        ("Money refund help", "lessons"), ("cancel my order please", "lessons"),
        ("pay by card", "must.csv"),
    ]  # fmt: skip
    assert "<td>pay by card</td>" in page
    assert promote(2).version.production  # taken back, nothing of it is asked


def test_a_shadow_run_changes_nothing(shop: Shop) -> None:
    registry = shop.registry
    before = registry.history("desk")
    done = compare_on(
        registry.resolve("desk@3"), registry.resolve("desk@1"), shop.folder / "fresh.csv",
        must_pass=None, mapping={}, limits=GateLimits(), home=shop.home, say=silent,
    )  # fmt: skip
    assert not done.verdict.passed
    assert done.changes
    assert registry.history("desk") == before
    alike = compare_on(
        registry.resolve("desk@2"), registry.resolve("desk@1"), shop.folder / "fresh.csv",
        must_pass=None, mapping={}, limits=GateLimits(), home=shop.home, say=silent,
    )  # fmt: skip
    assert alike.changes == ()
    assert alike.verdict.passed


def test_latency_is_that_of_each_model() -> None:
    def slow(rows: Sequence[str]) -> None:
        sum(range(400_000 * len(rows)))

    def quick(rows: Sequence[str]) -> None:
        sum(range(4_000 * len(rows)))

    latency = latency_of((slow, quick), [str(n) for n in range(10)])
    assert latency is not None
    assert latency.candidate > 10 * latency.production
    assert latency_of((slow, quick), []) is None


@pytest.mark.parametrize("rows", [1, 5, 40, 1000])
def test_both_are_timed_in_turn_on_the_same_rows_equally_often(rows: int) -> None:
    asked: list[tuple[str, str]] = []

    def serve(who: str) -> Callable[[Sequence[str]], None]:
        return lambda texts: asked.extend((who, text) for text in texts)

    given = [str(n) for n in range(rows)]
    assert latency_of((serve("candidate"), serve("production")), given) is not None
    assert len(asked) == 2 * (WARM_UP + TIMED)
    turns = [dict(asked[at : at + 2]) for at in range(0, len(asked), 2)]
    assert all(turn["candidate"] == turn["production"] for turn in turns)
    first = [who for who, _ in asked[::2]]
    assert first.count("candidate") in (len(first) // 2, len(first) - len(first) // 2)
    assert {text for _, text in asked} == set(given[:: max(1, rows // TIMED)][:TIMED])
