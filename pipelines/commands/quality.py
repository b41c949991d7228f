"""`triptych evaluate` and `triptych benchmark`."""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.options import (
    HomeOption,
    InputOption,
    JsonOption,
    LabelColumn,
    ModelOption,
    SeedOption,
    TextColumn,
    ThreadsOption,
    mapping_of,
    measured,
    open_home,
    print_json,
    speaker,
    use_threads,
)

if TYPE_CHECKING:
    from shared.settings import Home


class App(StrEnum):
    """The three applications."""

    CHATBOT = "chatbot"
    NEWS = "news"
    RECOMMENDER = "recommender"


class Bench(StrEnum):
    """What can be measured against rivals."""

    CORE = "core"
    CHATBOT = "chatbot"
    NEWS = "news"
    RECOMMENDER = "recommender"
    EXPLAIN = "explain"
    FORECAST = "forecast"
    DISTRIBUTED = "distributed"
    SERVING = "serving"
    ACTIVE = "active"
    PRETRAINING = "pretraining"
    METHODS = "methods"
    FEW = "few"
    SIZES = "sizes"


DatasetsOption = Annotated[
    Path | None,
    typer.Option(
        "--datasets", metavar="DIR", help="Folder of public sets; those absent are skipped."
    ),
]


def register(app: typer.Typer) -> None:
    app.command("evaluate")(evaluate)
    app.command("benchmark")(benchmark)


def evaluate(
    app_name: Annotated[App, typer.Argument(metavar="APP", help="chatbot, news or recommender.")],
    model: ModelOption,
    input_file: InputOption,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    home: HomeOption = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a released model on labelled data: 95 % intervals, slices, calibration, a report."""
    use_threads(threads)
    from pipelines.evaluate import evaluate_model

    mapping = mapping_of(text=text_column, label=label_column)
    done = evaluate_model(
        app_name.value, model, input_file, mapping, open_home(home), say=speaker(as_json)
    )
    if as_json:
        print_json(json.loads(done.report.to_json()))
        return
    for measure in done.report.measures:
        typer.echo(measured(measure))
    typer.echo(f"Report: {done.page}")


def benchmark(
    what: Annotated[
        Bench,
        typer.Argument(
            metavar="WHAT",
            help="core, chatbot, news, recommender, explain, forecast, distributed, serving, "
            "active, pretraining, methods, few or sizes.",
        ),
    ],
    datasets: DatasetsOption = None,
    items: Annotated[
        Path | None, typer.Option("--items", metavar="FILE", help="Any shop's items.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option("--events", metavar="FILE", help="Its events.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs with different seeds.")] = 3,
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure against named rivals in the same run."""
    use_threads(threads)
    if what is Bench.EXPLAIN:
        benchmark_explanations(open_home(home), seed, as_json)
        return
    if what is Bench.FORECAST:
        from pipelines.benchmark_forecast import benchmark_forecast

        measured_runs = benchmark_forecast(
            datasets, home=open_home(home), seed=seed, threads=threads, say=speaker(as_json)
        )
        if as_json:
            print_json([asdict(row) for row in measured_runs])
        return
    if what is Bench.DISTRIBUTED:
        from pipelines.benchmark_distributed import benchmark_distributed

        result = benchmark_distributed(home=open_home(home), say=speaker(as_json))
        if as_json:
            print_json(asdict(result))
        return
    if what is Bench.SERVING:
        from pipelines.benchmark_serving import benchmark_serving

        served = benchmark_serving(datasets, home=open_home(home), say=speaker(as_json))
        if as_json:
            print_json(asdict(served))
        return
    if what is Bench.ACTIVE:
        benchmark_labels(datasets, open_home(home), seed, seeds, threads, as_json)
        return
    if what is Bench.PRETRAINING:
        benchmark_own_texts(datasets, open_home(home), seed, seeds, threads, as_json)
        return
    if what is Bench.SIZES:
        benchmark_small_encoders(datasets, open_home(home), seed, threads, as_json)
        return
    if what is Bench.METHODS:
        benchmark_fine_tuning(datasets, open_home(home), seed, seeds, threads, as_json)
        return
    if what is Bench.FEW:
        benchmark_few_labels(datasets, open_home(home), seed, seeds, threads, as_json)
        return
    from pipelines.benchmark import run_benchmark

    rows = run_benchmark(
        what.value,
        datasets=datasets,
        items=items,
        events=events,
        seeds=tuple(range(seed, seed + seeds)),
        home=open_home(home),
        say=speaker(as_json),
    )
    if as_json:
        print_json(rows)


def benchmark_explanations(home: "Home", seed: int, as_json: bool) -> None:
    from pipelines.benchmark_explain import benchmark_explain, truth_lines

    say = speaker(as_json)
    truths = benchmark_explain(home=home, seed=seed, say=say)
    for line in truth_lines(truths):
        say(line)
    if as_json:
        print_json([asdict(row) for row in truths])


def benchmark_labels(
    datasets: Path | None,
    home: "Home",
    seed: int,
    seeds: int,
    threads: int | None,
    as_json: bool,
) -> None:
    from pipelines.benchmark_active import benchmark_active
    from shared.inference.model_encoders import open_base_encoder
    from shared.pretrained import resolve

    rows = benchmark_active(
        datasets or home.datasets,
        lambda: open_base_encoder(
            resolve("minilm", cache=home.cache), cache=home.cache, threads=threads
        ),
        range(seed, seed + seeds),
        speaker(as_json),
        threads=threads or 2,
    )
    if as_json:
        print_json([asdict(row) for row in rows])


def benchmark_own_texts(
    datasets: Path | None,
    home: "Home",
    seed: int,
    seeds: int,
    threads: int | None,
    as_json: bool,
) -> None:
    from pipelines.benchmark_pretraining import benchmark_pretraining
    from shared.training.options import TrainOptions

    rows = benchmark_pretraining(
        datasets,
        home=home,
        options=TrainOptions(seed=seed, threads=threads),
        seeds=tuple(range(seed, seed + seeds)),
        say=speaker(as_json),
    )
    if as_json:
        print_json([asdict(row) for row in rows])


def benchmark_fine_tuning(
    datasets: Path | None,
    home: "Home",
    seed: int,
    seeds: int,
    threads: int | None,
    as_json: bool,
) -> None:
    from pipelines.benchmark_methods import benchmark_methods
    from shared.training.options import TrainOptions

    rows, rate = benchmark_methods(
        datasets,
        home=home,
        options=TrainOptions(threads=threads, progress=False),
        seeds=tuple(range(seed, seed + seeds)),
        say=speaker(as_json),
    )
    if as_json:
        throughput = None if rate is None else asdict(rate)
        print_json({"methods": [asdict(row) for row in rows], "throughput": throughput})


def benchmark_few_labels(
    datasets: Path | None,
    home: "Home",
    seed: int,
    seeds: int,
    threads: int | None,
    as_json: bool,
) -> None:
    from pipelines.benchmark_few import benchmark_few
    from shared.training.options import TrainOptions

    rows = benchmark_few(
        datasets,
        home=home,
        options=TrainOptions(method="full", threads=threads, progress=False),
        seeds=tuple(range(seed, seed + seeds)),
        say=speaker(as_json),
    )
    if as_json:
        print_json([asdict(row) for row in rows])


def benchmark_small_encoders(
    datasets: Path | None, home: "Home", seed: int, threads: int | None, as_json: bool
) -> None:
    from pipelines.benchmark_sizes import benchmark_sizes
    from shared.training.options import TrainOptions

    sizes = benchmark_sizes(
        datasets,
        home=home,
        options=TrainOptions(seed=seed, threads=threads),
        say=speaker(as_json),
    )
    if as_json:
        print_json([asdict(size) for size in sizes])
