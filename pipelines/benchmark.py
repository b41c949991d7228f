"""`triptych benchmark`: every figure of the README, beside named rivals in the same run.

Sets that are not on disk are skipped with a line. Only development parts are read: what an official
test part holds is never looked at.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Protocol

import pandas as pd

from apps.chatbot.recipe import ChatbotRecipe
from apps.news_monitor.recipe import NewsRecipe
from pipelines.benchmark_answers import FAQS, benchmark_answers
from pipelines.benchmark_core import benchmark_core
from pipelines.benchmark_customers import (
    OOS,
    TWEETS,
    Asked,
    measure_replies,
    measure_scope,
    measure_slips,
)
from pipelines.benchmark_entities import TURNS, measure_entities
from pipelines.benchmark_headlines import PARTS as HEADLINES
from pipelines.benchmark_headlines import measure_headlines
from pipelines.benchmark_recommender import SPLITS, USUAL, benchmark_recommender
from pipelines.benchmark_rows import Row, Say, table_of
from pipelines.benchmark_several import measure_several
from pipelines.public_sets import BANKING, all_there, nothing_in
from pipelines.shop_sets import ShopSet, shop_sets
from pipelines.train import Recipe
from shared.errors import DataError
from shared.evaluation.report import Measure, Report
from shared.inference.model_encoders import open_base_encoder
from shared.inference.products import INNER, OUTER, ROWS, time_products
from shared.inference.runtime import Embedder
from shared.inference.throughput import measure_throughput
from shared.pretrained import resolve
from shared.settings import Home, wanted_device
from shared.training.options import Method, TrainOptions

# Shown of each report: what the recipes name first.
SHOWN = {
    "accuracy", "macro F1", "calibration error", "out-of-scope AUROC", "out of scope let through",
    "right when answered", "answered", "conformal coverage", "sentiment accuracy",
    "sentiment macro F1", "topics macro F1", "topics micro F1", "topics exact match", "NDCG@10",
    "recall@10",
}  # fmt: skip
INTENTS = "intents"
MODELS = "models"
# What `only` may choose from: what a chatbot is asked, what of the news, how a shop is split.
PARTS: Mapping[str, Sequence[str]] = {
    "chatbot": (INTENTS, "answers", "slips", "scope", "replies", "several", "entities"),
    "news": (MODELS, *HEADLINES),
    "recommender": SPLITS,
}


class Figure(Protocol):
    """Any measured value with its interval, as far as it has one."""

    @property
    def value(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class Trial:
    """A recipe to be trained and judged. needs: files without which it is skipped."""

    data: str
    recipe: Callable[[], Recipe]
    options: Mapping[str, object]
    needs: tuple[Path, ...]


def run_benchmark(
    what: str,
    *,
    datasets: Path | None,
    items: Path | None,
    events: Path | None,
    seeds: Sequence[int],
    home: Home,
    say: Say,
    only: Sequence[str] = (),
    method: str = Method.FROZEN,
    base: str = TrainOptions.base,
) -> list[dict[str, object]]:
    """Measure and print; returns the rows.

    datasets: folder of public sets as `triptych data fetch` lays them out. items, events: any
    shop's tables, for `recommender`. only: of what PARTS names for it; by default all, and of a
    shop its own splits. method, base: how the labels of news and the texts of a shop's items are
    learned.

    Raises DataError when there is nothing to measure on.
    """
    folder = datasets or home.datasets
    parts = _parts(what, only)
    device = wanted_device(None, os.environ)
    rows: list[Row] = []
    if what == "core":
        rows += list(_core(folder, seeds, home, say))
    if what == "recommender":
        learning = TrainOptions(method=method, base=base, device=device)
        rows += list(_shops(folder, items, events, seeds, only, learning, home, say))
    for trial in _trials(what, folder) if {INTENTS, MODELS} & set(parts) else ():
        missing = [path for path in trial.needs if not path.exists()]
        if missing:
            say(f"skipped {trial.data}: {missing[0]} is not there")
            continue
        rows += _tried(trial, seeds, home, say)
    if what == "chatbot":
        rows += list(_customers(folder, parts, seeds[0], home, say))
    if what == "news":
        learning = TrainOptions(
            method=method, base=base, seed=seeds[0], device=device, progress=False
        )
        rows += list(measure_headlines(folder, parts, learning, home, say, named=bool(only)))
    if not rows:
        raise nothing_in(folder)
    for line in table_of(rows):
        say(line)
    return [asdict(row) for row in rows]


def _parts(what: str, only: Sequence[str]) -> Sequence[str]:
    """Raises DataError for a part that there is none of."""
    known = PARTS.get(what, ())
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise DataError(f"--only {unknown[0]}: expected one of {', '.join(known)}")
    return only or known


def _trials(what: str, sets: Path) -> list[Trial]:
    frozen: dict[str, object] = {"method": "frozen"}
    if what == "chatbot":
        bank, clinc = sets / "chatbot" / "banking77", sets / "chatbot" / "clinc150"
        return [
            _chatbot("BANKING77", bank / "dnnc_train.csv", bank / "dnnc_valid.csv", frozen),
            _chatbot("BANKING77, 10 a label", bank / "dnnc_train_10.csv", bank / "dnnc_valid.csv",
                     frozen),
            _chatbot("BANKING77, 5 a label", bank / "dnnc_train_5.csv", bank / "dnnc_valid.csv",
                     frozen),
            _chatbot("BANKING77, 10 a label, tuned", bank / "dnnc_train_10.csv",
                     bank / "dnnc_valid.csv", {"method": "full"}),
            _clinc(clinc / "data_full_dev.csv", frozen),
        ]  # fmt: skip
    if what == "news":
        tweets = sets / "finance" / "twitter_fin_sentiment" / "train.csv"
        topics = sets / "finance" / "twitter_fin_topic" / "train.csv"
        bank = sets / "finance" / "financial_phrasebank" / "50Agree_train.csv"
        spelt = {"0": "negative", "1": "positive", "2": "neutral"}
        return [
            Trial(
                "Twitter sentiment and topics",
                lambda: NewsRecipe((tweets,), (topics,), sentiment_labels=spelt),
                frozen,
                (tweets, topics),
            ),
            Trial("Financial PhraseBank", lambda: NewsRecipe((bank,)), frozen, (bank,)),
        ]
    return []


def _chatbot(name: str, examples: Path, validation: Path, options: Mapping[str, object]) -> Trial:
    return Trial(
        name,
        lambda: ChatbotRecipe(examples=(examples,), validation=(validation,)),
        options,
        (examples, validation),
    )


def _clinc(table: Path, options: Mapping[str, object]) -> Trial:
    """CLINC150 is one table with a column `split`."""

    def recipe() -> Recipe:
        rows = pd.read_csv(table, keep_default_na=False)
        folder = Path(tempfile.mkdtemp(prefix="clinc-"))
        parts = {"train": ("train",), "val": ("val",), "oos": ("oos_train", "oos_val")}
        for name, splits in parts.items():
            rows[rows["split"].isin(splits)].to_csv(folder / f"{name}.csv", index=False)
        return ChatbotRecipe(
            examples=(folder / "train.csv",),
            validation=(folder / "val.csv",),
            out_of_scope=folder / "oos.csv",
        )

    return Trial("CLINC150", recipe, options, (table,))


def _shops(
    sets: Path,
    items: Path | None,
    events: Path | None,
    seeds: Sequence[int],
    splits: Sequence[str],
    learning: TrainOptions,
    home: Home,
    say: Say,
) -> Iterator[Row]:
    """Each shop beside all rivals and its own sources, its slices too."""
    with tempfile.TemporaryDirectory(prefix="triptych-shops-") as work:
        shops = shop_sets(sets, Path(work), say)
        if items is not None and events is not None:
            shops = [ShopSet(items.name, items, events, USUAL)]
        for shop in shops:
            yield from _shop(shop, seeds, splits or shop.splits, learning, home, say)


def _shop(
    shop: ShopSet,
    seeds: Sequence[int],
    splits: Sequence[str],
    learning: TrainOptions,
    home: Home,
    say: Say,
) -> Iterator[Row]:
    runs = [
        benchmark_recommender(
            shop.items,
            shop.events,
            home=home,
            seed=seed,
            method=learning.method,
            base=learning.base,
            splits=tuple(splits),
            say=say,
        )
        for seed in seeds
    ]
    for run in runs:
        for note in run.notes:
            say(note)
    found = [row for run in runs for row in run.rows]
    for row in runs[0].rows:
        same = [r for r in found if r.told == row.told]
        system = row.system if row.part == "all" else f"{row.system}, {row.part}"
        data = row.data.replace(shop.items.name, shop.name, 1)
        yield _mean_row(data, system, row.measure, same, row.seconds)


def _mean_row(
    data: str, system: str, measure: str, same: Sequence[Figure], seconds: float | None
) -> Row:
    """The mean over the seeds of a figure and of both ends of its interval."""
    lows = [figure.low for figure in same if figure.low is not None]
    highs = [figure.high for figure in same if figure.high is not None]
    values = [figure.value for figure in same if figure.value is not None]
    return Row(
        data,
        system,
        measure,
        mean(values),
        mean(lows) if lows else None,
        mean(highs) if highs else None,
        seconds,
    )


def _tried(trial: Trial, seeds: Sequence[int], home: Home, say: Say) -> list[Row]:
    """Train and judge once for each seed; the mean of each figure."""
    reports: list[Report] = []
    seconds: list[float] = []
    for seed in seeds:
        say(f"{trial.data}, seed {seed}")
        with tempfile.TemporaryDirectory() as folder:
            options = TrainOptions(
                seed=seed,
                device=wanted_device(None, os.environ),
                **trial.options,  # type: ignore[arg-type]
            )
            report = trial.recipe().fit(Path(folder) / "model", options=options, home=home, say=say)
        reports.append(report)
        seconds.append(sum(report.seconds.values()))
    systems: dict[str, list[tuple[Measure, ...]]] = {"triptych": []}
    for report in reports:
        systems["triptych"].append(report.measures)
        for baseline in report.baselines:
            systems.setdefault(baseline.name, []).append(baseline.measures)
    return [
        row
        for system, runs in systems.items()
        for row in _means(trial.data, system, runs, mean(seconds) if system == "triptych" else None)
    ]


def _means(
    data: str, system: str, runs: Sequence[tuple[Measure, ...]], seconds: float | None
) -> Iterator[Row]:
    for measure in runs[0]:
        same = [m for run in runs for m in run if m.name == measure.name and m.value is not None]
        if measure.name not in SHOWN or not same:
            continue
        yield _mean_row(data, system, measure.name, same, seconds)


def _core(sets: Path, seeds: Sequence[int], home: Home, say: Say) -> Iterator[Row]:
    """Runtimes beside each other on the same texts, then the fusion beside its parts."""
    yield from _runtimes(sets, home, say)
    base = resolve("minilm", cache=home.cache)

    def embedder() -> Embedder:
        return open_base_encoder(base, cache=home.cache, device=wanted_device(None, os.environ))

    for row in benchmark_core(sets, embedder, seeds, say):
        yield Row(row.dataset, row.system, row.metric, row.value, row.low, row.high, row.seconds)


def _runtimes(sets: Path, home: Home, say: Say) -> Iterator[Row]:
    table = sets / "chatbot" / "banking77" / "dnnc_valid.csv"
    if not table.exists():
        say(f"skipped runtimes: {table} is not there")
        return
    texts = pd.read_csv(table, keep_default_na=False)["text"].tolist()
    base = resolve("minilm", cache=home.cache)
    measured = measure_throughput(base.path, texts, threads=2, cache=home.cache)
    for rate in measured.rates:
        data = f"{measured.texts} short texts, batch 32"
        yield Row(data, rate.name, "texts a second", rate.texts_per_second, None, None, None)
        ratio = measured.ratio(rate.name)
        yield Row(data, rate.name, "times torch fp32", ratio, None, None, None)
    plain, small = time_products()
    ratio = small.texts_per_second / plain.texts_per_second
    product = f"{ROWS} x {INNER} by {INNER} x {OUTER}, one thread"
    yield Row(product, small.name, "times torch fp32", ratio, None, None, None)


def _customers(sets: Path, parts: Sequence[str], seed: int, home: Home, say: Say) -> Iterator[Row]:
    """Once, with the first seed."""
    options = TrainOptions(
        method="frozen", seed=seed, device=wanted_device(None, os.environ), progress=False
    )
    for name, (measure, file) in CUSTOMERS.items():
        if name not in parts or not all_there([sets / file], say):
            continue
        for each in measure(sets, home=home, options=options, say=say):
            found = each.found
            yield Row(each.data, each.system, each.measure, found.value, found.low, found.high,
                      None)  # fmt: skip


def _from_answers(sets: Path, *, home: Home, options: TrainOptions, say: Say) -> Iterator[Asked]:
    for row in benchmark_answers(sets, home=home, options=options, say=say):
        yield Asked("Bank FAQs, answers of others", row.system, "right answer first", row.recall)


CUSTOMERS: Mapping[str, tuple[Callable[..., Iterator[Asked]], str]] = {
    "answers": (_from_answers, FAQS),
    "slips": (measure_slips, BANKING[0]),
    "scope": (measure_scope, f"{OOS}/train.csv"),
    "replies": (measure_replies, f"{TWEETS}/train.jsonl.gz"),
    "several": (measure_several, BANKING[0]),
    "entities": (measure_entities, TURNS),
}
