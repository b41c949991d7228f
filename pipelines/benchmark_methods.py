"""`triptych benchmark methods`: what each way to fine-tune costs and gives, a set an application.

Every way learns from the same rows with its usual recipe and is judged, in fp32, on rows that
decided nothing: neither when it stopped nor which checkpoint was kept. What the fusion makes of
such an encoder is another question, which `triptych benchmark few` asks.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from apps.recommender.behaviour import co_engaged
from apps.recommender.recipe import RecommenderRecipe
from apps.recommender.settings import RecommenderSettings
from pipelines.benchmark_pair_methods import (
    best_cut,
    cosines_of,
    frozen_embedder,
    matching,
    near_labels,
    question_pairs,
    told_by_scorer,
)
from pipelines.public_sets import BANKING, TWITTER, banking, examples_of, nothing_in
from shared.errors import DataError
from shared.evaluation.intervals import Difference, Interval, bootstrap, mean_of, paired_bootstrap
from shared.inference.runtime import load_embedder
from shared.modeling.adapter import FACTORS_FILE
from shared.modeling.heads import HeadSpec
from shared.modeling.text_model import HEAD_WEIGHTS_FILE, TextModel
from shared.pretrained import PretrainedEncoder, resolve
from shared.settings import Home
from shared.training.adapters import ADAPTER_FOLDER
from shared.training.batches import HeadTask, encode, tokenise
from shared.training.examples import Examples, split
from shared.training.finetune import finetune_classifier
from shared.training.machine import machine_of, threads_limited
from shared.training.options import FineTuned, Method, TrainOptions
from shared.training.pairs import Pairs, finetune_matcher, finetune_pair_scorer
from shared.training.throughput import TrainingThroughput, measure_training_throughput

Say = Callable[[str], None]
Floats = NDArray[np.float64]
FEW = Path("chatbot/banking77/dnnc_train_10.csv")
BEAUTY = Path("recommender/amazon_beauty")
SEED = 13  # of the rows; those of the runs are asked for
STOPPING_SHARE = 0.12  # of the training rows, for early stopping
NEWS_ROWS = 2000  # for training, and as many to judge on
PAIRS, JUDGED_PAIRS, STOPPING_PAIRS = 2000, 1000, 200
BEST = 10  # MRR@10
PAIR_TOKENS = 96  # of both questions together: one pair in a hundred has more than 65 words
RIVAL = "full"
# A tutorial's recipe: all weights in fp32, heads that begin at random, one rate for all layers.
PLAIN: Mapping[str, object] = {
    "bf16": False, "freeze_embeddings": False, "warm_start": False, "layer_decay": 1.0,
    "label_smoothing": 0.0, "learning_rate": 5e-5, "head_learning_rate": 5e-5,
    "contrastive": 0.0, "keep": "best",
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way to fine-tune: a method and what differs from its usual options."""

    name: str
    method: Method
    changed: Mapping[str, object] = field(default_factory=dict)

    def options(self, given: TrainOptions) -> TrainOptions:
        """The options of a run this way."""
        return replace(given, method=self.method.value, **self.changed)  # type: ignore[arg-type]


WAYS: Mapping[str, Way] = {
    way.name: way
    for way in (
        Way("frozen", Method.FROZEN),
        Way("plain recipe", Method.FULL, PLAIN),
        Way(RIVAL, Method.FULL),
        Way("full, 3 layers frozen", Method.FULL, {"freeze_layers": 3}),
        Way("lora", Method.LORA),
        Way("adalora", Method.ADALORA),
        Way("ia3", Method.IA3),
        Way("prompt", Method.PROMPT),
    )
}
# The plain recipe is no rival in matching; with all rows, those worth their minutes.
PAIR_WAYS = ("frozen", "full", "lora", "adalora", "ia3", "prompt")
LONG_WAYS = ("frozen", "full", "full, 3 layers frozen", "lora")


@dataclass(frozen=True)
class Trained:
    """A run, judged. scores: (n,) 0..1 of each judged row: right or wrong, or 1 / rank.
    cpu_minutes: of all threads together, which other work on the machine changes little. kept_mb:
    of what stays on disk beside the base encoder, in fp32."""

    scores: Floats
    cpu_minutes: float
    trained_parameters: int
    trained_share: float
    kept_mb: float


@dataclass(frozen=True)
class MethodRow:
    """One way on one set, means over the seeds. quality: in `measure`, with its 95 % interval;
    gain: how much more than by the way "full", paired by judged row."""

    data: str
    way: str
    measure: str
    quality: Interval
    gain: Difference
    cpu_minutes: float
    trained_parameters: int
    trained_share: float
    kept_mb: float

    def line(self) -> str:
        """For people."""
        gain = (
            f"{100 * self.gain.value:+.1f} points to {RIVAL} "
            f"({100 * self.gain.low:+.1f} to {100 * self.gain.high:+.1f})"
        )
        return (
            f"{self.data:<26} {self.way:<22} {self.measure} {self.quality.value:.4f} "
            f"({self.quality.low:.4f} to {self.quality.high:.4f})  "
            f"{self.cpu_minutes:>5.1f} CPU min  "
            f"{self.trained_parameters:>10,} learn ({self.trained_share:.2%})  "
            f"{self.kept_mb:>6.2f} MB  {'' if self.way == RIVAL else gain}".rstrip()
        )


@dataclass(frozen=True)
class Case:
    """One set. run: learns one way with these options, in this folder, and is judged."""

    data: str
    measure: str
    ways: Sequence[str]
    groups: NDArray[np.int64]
    run: Callable[[Way, TrainOptions, Path], Trained]


def benchmark_methods(
    datasets: Path | None,
    *,
    home: Home,
    options: TrainOptions,
    seeds: Sequence[int],
    say: Say,
    sets: Sequence[str] = (),
) -> tuple[list[MethodRow], TrainingThroughput | None]:
    """Every way on every set that is there, and the throughput of training beside a plain recipe.

    datasets: folder of public sets, the home's where none is named. sets: names of CASES; all
    where none is named.

    Raises DataError: no set is there, or one of `sets` is not known.
    """
    folder = datasets or home.datasets
    unknown = sorted(set(sets) - set(CASES))
    if unknown:
        raise DataError(f"no set {unknown[0]!r}: expected one of {', '.join(CASES)}")
    base = resolve(options.base, cache=home.cache)
    rows: list[MethodRow] = []
    for name, (make, needs) in CASES.items():
        if sets and name not in sets:
            continue
        missing = [path for path in needs if not (folder / path).is_file()]
        if missing:
            say(f"skipped {name}: {folder / missing[0]} is not there")
            continue
        for row in _measured(make(folder, base), options, seeds):
            say(row.line())
            rows.append(row)
    if not rows:
        raise nothing_in(folder)
    rate = _throughput(folder, base, options)
    if rate is not None:
        say(
            f"training, {rate.ours.steps} steps each in turn: {rate.ours.texts_per_second:.0f} "
            f"texts a second, a plain recipe {rate.plain.texts_per_second:.0f}: "
            f"{rate.factor:.1f} times"
        )
    return rows, rate


def _measured(case: Case, options: TrainOptions, seeds: Sequence[int]) -> Iterator[MethodRow]:
    """The case's ways, "full" first, for all others are compared with it."""
    rival: Floats | None = None
    for name in sorted(case.ways, key=lambda name: name != RIVAL):
        runs = []
        for seed in seeds:
            with tempfile.TemporaryDirectory() as folder:
                own = WAYS[name].options(replace(options, seed=seed))
                runs.append(case.run(WAYS[name], own, Path(folder) / "model"))
        scores = np.mean([run.scores for run in runs], axis=0)  # (n,)
        rival = scores if rival is None else rival
        yield MethodRow(
            case.data,
            name,
            case.measure,
            bootstrap(mean_of(scores), len(scores), groups=case.groups),
            paired_bootstrap(mean_of(scores), mean_of(rival), len(scores), groups=case.groups),
            float(np.mean([run.cpu_minutes for run in runs])),
            runs[0].trained_parameters,
            runs[0].trained_share,
            runs[0].kept_mb,
        )


def _banking_few(sets: Path, base: PretrainedEncoder) -> Case:
    train, held = (examples_of(sets / name) for name in (FEW, BANKING[1]))
    return _classification("BANKING77, 10 a label", train, held, base, tuple(WAYS))


def _banking(sets: Path, base: PretrainedEncoder) -> Case:
    parts = banking(sets)
    return _classification("BANKING77, all rows", parts.train, parts.held, base, LONG_WAYS)


def _twitter(sets: Path, base: PretrainedEncoder) -> Case:
    parts = split(examples_of(sets / TWITTER["Twitter sentiment"]), fraction=0.5, seed=SEED)
    rng = np.random.default_rng(SEED)
    train, held = (
        part.take(np.sort(rng.permutation(len(part))[:NEWS_ROWS]))
        for part in (parts.train, parts.validation)
    )
    return _classification("Twitter sentiment, 2,000", train, held, base, tuple(WAYS))


def _classification(
    data: str, train: Examples, held: Examples, base: PretrainedEncoder, ways: Sequence[str]
) -> Case:
    def run(_: Way, options: TrainOptions, folder: Path) -> Trained:
        parts = split(train, fraction=STOPPING_SHARE, seed=options.seed)
        spec = HeadSpec("label", "single", parts.train.names)
        task = HeadTask(spec, parts.train, parts.validation)
        started = time.process_time()
        done = finetune_classifier([task], encoder=base, options=options, folder=folder)
        spent = time.process_time() - started
        right = np.array(_predicted(folder, held.texts, options)) == np.array(held.single)
        return _trained(done, folder, right.astype(np.float64), spent)

    return Case(data, "accuracy", ways, held.groups, run)


def _predicted(folder: Path, texts: Sequence[str], options: TrainOptions) -> list[str]:
    """The label of each text by the head that was trained with the encoder, in fp32."""
    with threads_limited(options.threads):
        model = TextModel.load(folder)
        machine = replace(machine_of(options), bf16=False)
        model.to(machine.device)
        vectors = encode(model.encoder, tokenise(model.encoder, texts), machine=machine)
        with torch.inference_mode():
            logits = model.heads["label"](torch.from_numpy(vectors).to(machine.device))
    return [model.specs[0].labels[best] for best in logits.argmax(1).tolist()]


def _beauty(sets: Path, base: PretrainedEncoder) -> Case:
    """Texts of items that one user took one after the other: which belongs to which?"""
    settings = RecommenderSettings()
    items, events = (sets / name for name in _BEAUTY_FILES)
    recipe = RecommenderRecipe(items, events, settings=settings)
    catalog, log = recipe.read(settings, SEED, lambda _: None)
    wanted = PAIRS + JUDGED_PAIRS + STOPPING_PAIRS
    left, right = co_engaged(log, settings.encoder.window, 2 * wanted, SEED)
    texts = catalog.texts
    usable = [(texts[a], texts[b]) for a, b in zip(left, right, strict=True) if a != b]
    usable = [(a, b) for a, b in usable if a and b and a != b]
    # No text that is judged on was learned from.
    judged = usable[:JUDGED_PAIRS]
    known = {text for pair in judged for text in pair}
    rest = [pair for pair in usable[JUDGED_PAIRS:] if not known & set(pair)]
    stopping, train = rest[:STOPPING_PAIRS], rest[STOPPING_PAIRS : STOPPING_PAIRS + PAIRS]

    def run(way: Way, options: TrainOptions, folder: Path) -> Trained:
        own = replace(options, epochs=1, max_length=64)
        if way.method is Method.FROZEN:
            return Trained(_reciprocal_ranks(base.path, base.prefix, judged, own), 0.0, 0, 0.0, 0.0)
        started = time.process_time()
        done = finetune_matcher(
            _pairs(train), _pairs(stopping), encoder=base, options=own, folder=folder
        )
        spent = time.process_time() - started
        return _trained(done, folder, _reciprocal_ranks(folder, None, judged, own), spent)

    return Case("Amazon Beauty, pairs", "MRR@10", PAIR_WAYS, np.arange(len(judged)), run)


def _reciprocal_ranks(
    folder: Path, prefix: str | None, pairs: Sequence[tuple[str, str]], options: TrainOptions
) -> Floats:
    """(n,) 1 / rank of each left text's partner among all right ones, 0 beyond the tenth."""
    embedder = load_embedder(
        folder, precision="fp32", prefix=prefix, max_length=options.max_length,
        threads=options.threads,
    )  # fmt: skip
    left, right = (embedder.encode([pair[side] for pair in pairs]) for side in (0, 1))
    scores = left @ right.T  # (n, n)
    ranks = 1 + (scores > np.diag(scores)[:, None]).sum(1)
    return np.where(ranks <= BEST, 1 / ranks, 0.0)


def _scoring(sets: Path, base: PretrainedEncoder) -> Case:
    """Two questions: do they have one label? Told of each pair by itself, so that ways can be
    compared pair by pair; half of the pairs do, so that none is right by always saying no."""
    parts = banking(sets)
    near = near_labels(parts.train, frozen_embedder(base, TrainOptions(max_length=PAIR_TOKENS)))
    pairs = question_pairs(
        parts, near, train=PAIRS, stopping=STOPPING_PAIRS, judged=JUDGED_PAIRS, seed=SEED
    )

    def right(told: NDArray[np.bool_]) -> Floats:
        return np.asarray(told == matching(pairs.judged), dtype=np.float64)

    def run(way: Way, options: TrainOptions, folder: Path) -> Trained:
        own = replace(options, max_length=PAIR_TOKENS)
        started = time.process_time()
        if way.method is Method.FROZEN:
            embedder = frozen_embedder(base, own)
            cut = best_cut(cosines_of(pairs.train, embedder), matching(pairs.train))
            spent = time.process_time() - started
            told = cosines_of(pairs.judged, embedder) >= cut
            return Trained(right(told), spent / 60, 0, 0.0, 0.0)
        done = finetune_pair_scorer(
            pairs.train, pairs.stopping, encoder=base, options=own, folder=folder
        )
        spent = time.process_time() - started
        return _trained(done, folder, right(told_by_scorer(folder, pairs.judged, own)), spent)

    groups = np.arange(len(pairs.judged))
    return Case("BANKING77, pair scoring", "accuracy", tuple(WAYS), groups, run)


def _pairs(rows: Sequence[tuple[str, str]]) -> Pairs:
    return Pairs(tuple(a for a, _ in rows), tuple(b for _, b in rows))


def _trained(done: FineTuned, folder: Path, scores: Floats, seconds: float) -> Trained:
    return Trained(
        scores,
        seconds / 60,
        done.trained_parameters,
        done.trained_share,
        _kept(done, folder),
    )


def _kept(done: FineTuned, folder: Path) -> float:
    """MB: the adapter where there is one, else the encoder's weights, unless they are the base's;
    the heads with either."""
    if (folder / ADAPTER_FOLDER).is_dir():
        files = [folder / ADAPTER_FOLDER / FACTORS_FILE]
    elif done.method == Method.FROZEN:
        files = []
    else:
        files = [folder / "model.safetensors"]
    heads = folder / HEAD_WEIGHTS_FILE
    return sum(file.stat().st_size for file in [*files, heads] if file.is_file()) / 1e6


def _throughput(
    sets: Path, base: PretrainedEncoder, options: TrainOptions
) -> TrainingThroughput | None:
    """Learning all weights of the layers from BANKING77, beside the plain recipe; None without."""
    table = sets / BANKING[0]
    if not table.is_file():
        return None
    examples = examples_of(table)
    task = HeadTask(HeadSpec("label", "single", examples.names), examples, examples)
    return measure_training_throughput([task], encoder=base, options=options)


_BEAUTY_FILES = (BEAUTY / "beauty_items.csv.gz", BEAUTY / "beauty_user_sequences.txt.gz")
CASES: Mapping[str, tuple[Callable[[Path, PretrainedEncoder], Case], Sequence[Path]]] = {
    "few": (_banking_few, (FEW, Path(BANKING[1]))),
    "news": (_twitter, (Path(TWITTER["Twitter sentiment"]),)),
    "pairs": (_beauty, _BEAUTY_FILES),
    "scoring": (_scoring, tuple(map(Path, BANKING))),
    "banking": (_banking, tuple(map(Path, BANKING))),
}
