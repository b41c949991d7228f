"""`triptych benchmark`: what can be measured, each a row of MEASUREMENTS."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.options import (
    BaseOption,
    HomeOption,
    JsonOption,
    SeedOption,
    ThreadsOption,
    device_of,
    open_home,
    print_json,
    speaker,
    there,
    use_threads,
)
from shared.training.options import Method

if TYPE_CHECKING:
    from shared.settings import Home
    from shared.training.options import TrainOptions


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
    PAGES = "pages"
    INDEX = "index"
    LISTS = "lists"
    LOAD = "load"
    MONITOR = "monitor"


WITH_SETS = (
    Bench.METHODS, Bench.FEW, Bench.CHATBOT, Bench.NEWS, Bench.RECOMMENDER, Bench.PAGES,
    Bench.LISTS,
)  # fmt: skip
WITH_BASE = (Bench.NEWS, Bench.RECOMMENDER)
BROWSER = "browser"
LARGE_SHOP = "large"


@dataclass(frozen=True)
class Asked:
    """The call. datasets: folder of public sets, None for the home's. seeds: of the runs whose
    means are told; the first is the seed of what runs once. only: of METHODS and FEW the sets, of
    CHATBOT, NEWS and RECOMMENDER what benchmark.PARTS names. rows: of PAGES the items, of INDEX the
    vectors, of LISTS the users. model: of LOAD and MONITOR, None for the one of the usual name.
    method, base: of WITH_BASE, how their texts are learned from."""

    what: Bench
    datasets: Path | None
    items: Path | None
    events: Path | None
    seeds: tuple[int, ...]
    only: tuple[str, ...]
    rows: int
    model: str | None
    method: Method
    base: str
    threads: int | None
    home: "Home"
    say: Callable[[str], None]

    def options(self, **changed: Any) -> "TrainOptions":
        """Of a fine-tuning run, without a bar."""
        from shared.training.options import TrainOptions

        return TrainOptions(
            seed=self.seeds[0], threads=self.threads, device=device_of(None), progress=False,
            **changed,
        )  # fmt: skip


def register(app: typer.Typer) -> None:
    app.command("benchmark")(benchmark)


def benchmark(
    what: Annotated[Bench, typer.Argument(metavar="WHAT", help=f"{', '.join(Bench)}.")],
    datasets: Annotated[
        Path | None,
        typer.Option(
            "--datasets", metavar="DIR", help="Folder of public sets; those absent are skipped."
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option("--items", metavar="FILE", callback=there, help="Any shop's items."),
    ] = None,
    events: Annotated[
        Path | None, typer.Option("--events", metavar="FILE", callback=there, help="Its events.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="SET",
            help="Sets: few, news, pairs, scoring, banking; for `few` banking, clinc; for "
            "`recommender` what is held out: last, time, hidden, month; for `chatbot` intents, "
            "answers, slips, scope, replies, several, entities; for `news` models, labels, "
            "surges, power, quiet, surveillance and, by name alone, for they take long, tuned "
            "(one fold), tuned-every (each), tuned-unseen, tuned-together; for `pages` browser: "
            "each drawn in Chromium; for `lists` large: a million items and ten million events.",
        ),
    ] = None,
    rows: Annotated[
        int,
        typer.Option(
            "--rows", min=1000, help="Items, for `pages`; vectors, for `index`; users, for `lists`."
        ),
    ] = 1_000_000,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME[@VERSION]",
            help="Chatbot, for `load`; news model, for `monitor`.",
        ),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(
            "--method",
            help="How texts are learned from, for `news --only labels` and `recommender`.",
        ),
    ] = Method.FROZEN,
    base: BaseOption = "minilm",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs with different seeds.")] = 3,
    home: HomeOption = None,
    seed: SeedOption = 13,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure against named rivals in the same run."""
    if only and what not in WITH_SETS:
        raise typer.BadParameter(
            f"goes with {', '.join(WITH_SETS)}; {what} has no sets to choose from",
            param_hint="--only",
        )
    if (method, base) != (Method.FROZEN, "minilm") and what not in WITH_BASE:
        raise typer.BadParameter(
            f"goes with {' and '.join(WITH_BASE)}", param_hint="--method, --base"
        )
    use_threads(threads)
    found = MEASUREMENTS[what](
        Asked(
            what,
            datasets,
            items,
            events,
            tuple(range(seed, seed + seeds)),
            tuple(only or ()),
            rows,
            model,
            method,
            base,
            threads,
            open_home(home),
            speaker(as_json),
        )
    )
    if as_json:
        print_json(_plain(found))


def _plain(found: Any) -> Any:
    """Results as what JSON knows."""
    if isinstance(found, list):
        return [_plain(each) for each in found]
    if isinstance(found, dict):
        return {name: _plain(each) for name, each in found.items()}
    return asdict(found) if is_dataclass(found) and not isinstance(found, type) else found


def _applications(asked: Asked) -> object:
    from pipelines.benchmark import run_benchmark

    return run_benchmark(
        asked.what.value,
        datasets=asked.datasets,
        items=asked.items,
        events=asked.events,
        seeds=asked.seeds,
        home=asked.home,
        say=asked.say,
        only=asked.only,
        method=asked.method,
        base=asked.base,
    )


def _explanations(asked: Asked) -> object:
    from pipelines.benchmark_explain import benchmark_explain, truth_lines

    truths = benchmark_explain(home=asked.home, seed=asked.seeds[0], say=asked.say)
    for line in truth_lines(truths):
        asked.say(line)
    return truths


def _forecast(asked: Asked) -> object:
    from pipelines.benchmark_forecast import benchmark_forecast

    return benchmark_forecast(
        asked.datasets,
        home=asked.home,
        seed=asked.seeds[0],
        threads=asked.threads,
        say=asked.say,
    )


def _distributed(asked: Asked) -> object:
    from pipelines.benchmark_distributed import benchmark_distributed

    return benchmark_distributed(home=asked.home, say=asked.say)


def _serving(asked: Asked) -> object:
    from pipelines.benchmark_serving import benchmark_serving

    return benchmark_serving(asked.datasets, home=asked.home, say=asked.say)


def _active(asked: Asked) -> object:
    from pipelines.benchmark_active import benchmark_active
    from shared.inference.model_encoders import open_base_encoder
    from shared.pretrained import resolve

    cache = asked.home.cache
    return benchmark_active(
        asked.datasets or asked.home.datasets,
        lambda: open_base_encoder(
            resolve("minilm", cache=cache),
            cache=cache,
            threads=asked.threads,
            device=device_of(None),
        ),
        asked.seeds,
        asked.say,
        threads=asked.threads or 2,
    )


def _pretraining(asked: Asked) -> object:
    from pipelines.benchmark_pretraining import benchmark_pretraining

    return benchmark_pretraining(
        asked.datasets,
        home=asked.home,
        options=asked.options(),
        seeds=asked.seeds,
        say=asked.say,
    )


def _methods(asked: Asked) -> object:
    from pipelines.benchmark_methods import benchmark_methods

    rows, rate = benchmark_methods(
        asked.datasets,
        home=asked.home,
        options=asked.options(),
        seeds=asked.seeds,
        say=asked.say,
        sets=asked.only,
    )
    return {"methods": rows, "throughput": rate}


def _few(asked: Asked) -> object:
    from pipelines.benchmark_few import benchmark_few

    return benchmark_few(
        asked.datasets,
        home=asked.home,
        options=asked.options(method="full"),
        seeds=asked.seeds,
        say=asked.say,
        sets=asked.only,
    )


def _sizes(asked: Asked) -> object:
    from pipelines.benchmark_sizes import benchmark_sizes

    return benchmark_sizes(asked.datasets, home=asked.home, options=asked.options(), say=asked.say)


def _pages(asked: Asked) -> object:
    if asked.only and asked.only != (BROWSER,):
        raise typer.BadParameter(f"of pages there is {BROWSER} alone", param_hint="--only")
    if asked.only:
        from pipelines.benchmark_browser import benchmark_browser

        return benchmark_browser(asked.rows, asked.say)
    from pipelines.benchmark_pages import benchmark_pages

    return benchmark_pages(asked.rows, asked.say)


def _index(asked: Asked) -> object:
    from pipelines.benchmark_index import benchmark_index

    return benchmark_index(asked.rows, asked.say, seed=asked.seeds[0])


def _lists(asked: Asked) -> object:
    from pipelines.benchmark_lists import LARGE, USUAL, benchmark_lists

    if asked.only and asked.only != (LARGE_SHOP,):
        raise typer.BadParameter(f"of lists there is {LARGE_SHOP} alone", param_hint="--only")
    size = LARGE if asked.only else USUAL
    listed = min(asked.rows, USUAL.users)
    return benchmark_lists(listed, asked.say, seed=asked.seeds[0], size=size)


def _load(asked: Asked) -> object:
    from pipelines.benchmark_load import benchmark_load

    model = asked.model or "chatbot"
    return benchmark_load(model, home=asked.home, threads=asked.threads, say=asked.say)


def _monitor(asked: Asked) -> object:
    from pipelines.benchmark_monitor import benchmark_monitor

    return benchmark_monitor(
        asked.model or "news",
        home=asked.home,
        threads=asked.threads,
        seed=asked.seeds[0],
        say=asked.say,
    )


MEASUREMENTS: Mapping[Bench, Callable[[Asked], object]] = {
    Bench.CORE: _applications,
    Bench.CHATBOT: _applications,
    Bench.NEWS: _applications,
    Bench.RECOMMENDER: _applications,
    Bench.EXPLAIN: _explanations,
    Bench.FORECAST: _forecast,
    Bench.DISTRIBUTED: _distributed,
    Bench.SERVING: _serving,
    Bench.ACTIVE: _active,
    Bench.PRETRAINING: _pretraining,
    Bench.METHODS: _methods,
    Bench.FEW: _few,
    Bench.SIZES: _sizes,
    Bench.PAGES: _pages,
    Bench.INDEX: _index,
    Bench.LISTS: _lists,
    Bench.LOAD: _load,
    Bench.MONITOR: _monitor,
}
