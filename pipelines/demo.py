"""`triptych demo`: the whole suite on data/samples, from raw tables to answers, mails and lists.

Everything is measured in this run: the quality on held-out sample data with its 95 % interval, the
simplest rival on the same rows, the seconds. The samples are invented, so the figures say that the
suite works, not how well it does on anybody's data; `make bench` measures on public sets.
"""

import io
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from apps.chatbot.bot import Bot
from apps.chatbot.recipe import ChatbotRecipe
from apps.news_monitor.labelling import Labeller
from apps.news_monitor.recipe import NewsRecipe
from apps.news_monitor.replay import replay
from apps.recommender.recipe import RecommenderRecipe
from pipelines.monitoring import news_settings
from pipelines.recommend import Recommended, Wanted, recommend_to_file
from pipelines.train import Recipe, Trained, train
from shared.evaluation.report import Measure
from shared.settings import Home, default_home, wanted_device
from shared.training.options import TrainOptions

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
# Enough for a visible gain on two cores; the whole demo stays under ten minutes.
FINE_TUNING_MINUTES = 1.0
# Two item texts a pair, and long ones: small batches make steps enough of the minutes.
PAIR_MINUTES, PAIR_BATCH = 2.0, 16

SHOWN_PLACES = 4

QUESTIONS = (
    ("clear", "hi, where is my parcel? it should have been here on tuesday"),
    ("typos", "i wnat to retrun the kettel i bougth"),
    ("with a number", "Please cancel order KB-20418"),
    ("Chinese", "我的退款什么时候到账？"),
    ("ambiguous", "there is a problem with my payment"),
    ("out of scope", "who will win the football match tonight?"),
)


@dataclass(frozen=True)
class Line:
    """One row of the closing table: a model and its rival by the same measure on the same rows.

    seconds: of training, measuring and publishing.
    """

    what: str
    quality: Measure
    baseline: str
    rival: Measure
    seconds: float


@dataclass(frozen=True)
class Asked:
    """A question to the demo's chatbot and what came of it."""

    kind: str
    question: str
    decision: str
    intent: str
    probability: float
    said: str


@dataclass(frozen=True)
class Demo:
    """What the demo measured and wrote."""

    lines: tuple[Line, ...]
    asked: tuple[Asked, ...]
    alerts: int
    mails: int
    outbox: str
    recommendations: str
    seconds: float

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def run_demo(*, home: Home, seed: int, threads: int | None, say: Callable[[str], None]) -> Demo:
    """Train three models, use each, print one table; eight minutes on two cores."""
    started = time.monotonic()
    say(
        "Three models are trained on invented sample data, measured and put to use: about eight "
        f"minutes on two free cores.\nThey are kept in {home.root}"
    )
    options = TrainOptions(
        method="full", minutes=FINE_TUNING_MINUTES, seed=seed, threads=threads, base="minilm",
        device=wanted_device(None, os.environ),
    )  # fmt: skip
    names = ("chatbot", "news", "recommender")
    on_pairs = replace(options, minutes=PAIR_MINUTES, batch_size=PAIR_BATCH)
    trained = {
        name: _train(name, on_pairs if name == "recommender" else options, home, say)
        for name in names
    }

    say("\nSix questions to the chatbot: its decision (likeliest intent, how sure), what it says")
    asked = _ask(trained["chatbot"], home, threads, say)

    say("\nThe news stream, replayed day by day: the alerts it would have mailed")
    alerts, mails, outbox = _replay(trained["news"], home, say)

    say("\nRecommendations for every user of the sample shop")
    written = _recommend(home, options, say)

    demo = Demo(
        tuple(_line(name, each) for name, each in trained.items()),
        asked,
        alerts,
        mails,
        str(outbox),
        written.output,
        time.monotonic() - started,
    )
    say(closing(demo, trained, home))
    return demo


def _recipe(name: str) -> Recipe:
    if name == "chatbot":
        folder = SAMPLES / "chatbot"
        return ChatbotRecipe(
            examples=(folder / "examples.csv", folder / "examples_zh.csv"),
            validation=(folder / "validation.csv", folder / "validation_zh.csv"),
            out_of_scope=folder / "out_of_scope.csv",
            answers=folder / "answers.yml",
        )
    if name == "news":
        folder = SAMPLES / "news"
        return NewsRecipe(sentiment=(folder / "sentiment.csv",), topics=(folder / "topics.csv",))
    folder = SAMPLES / "recommender"
    return RecommenderRecipe(items=folder / "items.csv", events=folder / "events.csv.gz")


def _train(name: str, options: TrainOptions, home: Home, say: Callable[[str], None]) -> Trained:
    say(f"\nTraining {name} on {SAMPLES / name}")
    return train(
        _recipe(name),
        name=name,
        options=options,
        home=home,
        clock=lambda: datetime.now(UTC),
        say=lambda line: say(f"  {line}"),
    )


def _ask(
    trained: Trained, home: Home, threads: int | None, say: Callable[[str], None]
) -> tuple[Asked, ...]:
    bot = Bot.load(trained.version.path, home=home, threads=threads)
    replies = bot.reply([question for _, question in QUESTIONS])
    asked = []
    for (kind, question), reply in zip(QUESTIONS, replies, strict=True):
        said = reply.message
        if reply.options:
            said += " " + " / ".join(f"[{option.title}]" for option in reply.options)
        say(f"  {question}\n    {reply.decision} ({reply.intent}, {reply.probability:.0%}): {said}")
        asked.append(Asked(kind, question, reply.decision, reply.intent, reply.probability, said))
    return tuple(asked)


def _replay(trained: Trained, home: Home, say: Callable[[str], None]) -> tuple[int, int, Path]:
    """How many alerts, how many mails about them, and where those lie."""
    output = home.reports / "demo-news"
    version = trained.version
    done = replay(
        SAMPLES / "news" / "stream.csv.gz",
        output=output,
        labeller=Labeller.load(version.path, home=home, name=version.reference),
        settings=news_settings(),
        say=lambda line: say(f"  {line}"),
    )
    alerts = [json.loads(row) for row in (output / "alerts.jsonl").read_text("utf-8").splitlines()]
    for alert in alerts:
        say(
            f"  {alert['opened_at'][:16]}  {alert['severity']:<8} {alert['topic']}: "
            f"{alert['negative']} of {alert['total']} stories negative "
            f"(usual {alert['expected']:.0f})"
        )
    return len(alerts), done.mails, output / "outbox"


def _recommend(home: Home, options: TrainOptions, say: Callable[[str], None]) -> Recommended:
    done = recommend_to_file(
        model="recommender",
        wanted=Wanted(home.reports / "demo-recommendations.parquet"),
        home=home,
        threads=options.threads,
        device=options.device,
        clock=lambda: datetime.now(UTC),
        say=lambda line: say(f"  {line}"),
    )
    say(f"  {done.line}")
    _show_list(Path(done.output), say)
    return done


def _show_list(lists: Path, say: Callable[[str], None]) -> None:
    """The first places of one user, of one who is offered something again if there is any."""
    frame = pd.read_parquet(lists)
    titles = pd.read_csv(SAMPLES / "recommender" / "items.csv").set_index("item_id")["title"]
    again = frame[frame["reason"].str.startswith("again:")]
    user = (frame if again.empty else again)["user_id"].iloc[0]
    for row in frame[frame["user_id"] == user].head(SHOWN_PLACES).itertuples():
        say(f"  {user}, {row.rank}: {titles[row.item_id]} ({row.reason})")


def _line(name: str, trained: Trained) -> Line:
    """The report's first measure, beside the first baseline that has it."""
    first = trained.report.measures[0]
    rival, beside = next(
        (baseline.name, measure)
        for baseline in trained.report.baselines
        for measure in baseline.measures
        if measure.name == first.name
    )
    return Line(name, first, rival, beside, trained.seconds)


def closing(demo: Demo, trained: dict[str, Trained], home: Home) -> str:
    """The table, where everything lies, and what to try next."""
    table = Table(title="Triptych on its invented samples, measured in this run")
    for column in ("what", "measure", "quality (95 % interval)", "simple rival", "seconds"):
        table.add_column(column)
    for line in demo.lines:
        table.add_row(
            line.what,
            line.quality.name,
            _figure(line.quality),
            f"{line.baseline} {_figure(line.rival, interval=False)}",
            f"{line.seconds:.0f}",
        )
    drawn = io.StringIO()
    Console(width=100, file=drawn).print(table)
    reports = "\n".join(f"  {each.report_page}" for each in trained.values())
    call, place = _call(), _place(home)
    return (
        f"\n{drawn.getvalue()}\n"
        f"{demo.mails} mails about {demo.alerts} alerts, written as files, none was sent:\n"
        f"  {demo.outbox}\n"
        f"Recommendations:\n  {demo.recommendations}\n"
        f"A report on each model, for the browser:\n{reports}\n"
        f"{demo.seconds:.0f} seconds in all. Next:\n"
        f"  {call} dashboard{place}    (all pages, in the browser)\n"
        f'  {call} chatbot ask "where is my order?"{place}\n'
        f"  {call} train chatbot --help    (your own data)\n"
    )


def _figure(measure: Measure, *, interval: bool = True) -> str:
    if measure.value is None:
        return "not measured"
    figure = f"{measure.value:.3f}"
    if not interval or measure.low is None or measure.high is None:
        return figure
    return f"{figure} ({measure.low:.3f}-{measure.high:.3f})"


def _call() -> str:
    """How this command is called here: `make demo` leaves it in a folder outside the PATH."""
    return "triptych" if shutil.which("triptych") else sys.argv[0]


def _place(home: Home) -> str:
    """The option that the next commands need to find what was trained here."""
    return "" if home == default_home(os.environ) else f" --home {shlex.quote(str(home.root))}"
