"""Training and evaluation of a recommender: what `triptych train recommender` runs."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from apps.recommender.bundle import ENCODER, Bundle, EncoderNote, save_bundle
from apps.recommender.catalog import Catalog, read_catalog
from apps.recommender.comparison import held_out_outcomes
from apps.recommender.fitting import (
    Given,
    Parts,
    fit_all,
    fit_held_out,
    given,
    held_out_lists,
    part,
)
from apps.recommender.interactions import Interactions, read_interactions
from apps.recommender.judging import judged_report, judging_targets, later_report
from apps.recommender.recommender import Recommender
from apps.recommender.retrieval import Scores
from apps.recommender.rivals import QUICK
from apps.recommender.settings import RecommenderSettings, read_settings
from apps.recommender.vectors import Whitening, fit_whitening
from shared.errors import DataError
from shared.evaluation.model_card import Purpose
from shared.evaluation.outcomes import save_outcomes
from shared.evaluation.report import Report
from shared.inference.model_encoders import open_base_encoder
from shared.pretrained import resolve
from shared.settings import Home
from shared.training.budget import CallBudget, Share
from shared.training.machine import torch_device
from shared.training.options import TrainOptions

PURPOSE = Purpose(
    use="Ranking the items of this shop's catalogue for its users, new items and new users "
    "included, with a reason for each.",
    not_for="prices, credit or anything else that decides about a person, and catalogues other "
    "than the one it was trained with.",
    limits=(
        "Offline figures say how well what users took next was found, not what they would have "
        "taken had they been shown something else; only a trial with users tells that.",
        "Users without a history get what is popular.",
        "The model folder holds the log it learned from, with the ids of users.",
    ),
)
Say = Callable[[str], None]
# Methods that leave the encoder as it is; `auto` follows [recommender.encoder] pairs.
FROZEN = ("frozen",)
EVALUATION_SEED = 13
# Of what is left of a call's minutes, for fine-tuning on pairs: it is exported and encodes the
# catalogue again, and two trainings of the other models and the report come after it.
PAIRS_SHARE = 0.5
# Of what is left then, for the models of the held-out part, and their seconds at least.
HELD_OUT_SHARE, FEWEST_SECONDS = 0.4, 10.0
# Of the home's reports: what was trained last and not published.
REFUSED = "recommender-not-published"


@dataclass(frozen=True)
class RecommenderRecipe:
    """items, events: files in any of the formats of formats.py. mapping: our column -> theirs.

    settings: by default [recommender] of the triptych.toml in use. rivals: names of
    rivals.RIVALS for the report; those that take minutes are left to the benchmark. even_if_worse:
    publish what loses to the best of them, beyond noise.
    """

    items: Path
    events: Path
    mapping: Mapping[str, str] = field(default_factory=dict)
    settings: RecommenderSettings | None = None
    rivals: tuple[str, ...] = QUICK
    even_if_worse: bool = False
    app: str = "recommender"

    @property
    def sources(self) -> tuple[tuple[str, Path], ...]:
        """What each file is, and the file."""
        return (("items", self.items), ("events", self.events))

    @property
    def purpose(self) -> Purpose:
        return PURPOSE

    def fit(self, folder: Path, *, options: TrainOptions, home: Home, say: Say) -> Report:
        """Write the model folder; the report is on users who chose nothing.

        Raises: DataError: a file that cannot be read or learnt from, or what is learnt from it
        loses to a simple rival. ModelError: the encoder.
        """
        settings = self._settings(options)
        device = torch_device(options.device)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        budget = CallBudget.of(options, time.monotonic)
        started = time.monotonic()
        catalog, log = self.read(settings, options.seed, say)
        parts = part(log, settings, options.seed)
        say(parts.line)
        read = time.monotonic()
        texts = embed(catalog, parts, settings, options, folder, home, say, budget)
        encoded = time.monotonic()
        held = fit_held_out(
            texts.given,
            parts,
            settings,
            seed=options.seed,
            threads=options.threads,
            device=device,
            budget=_held_out_seconds(budget, options, encoded - started),
            say=say,
        )
        targets = judging_targets(held)
        lists = held_out_lists(held, texts.given, targets.users, options.threads)
        report, found = judged_report(
            held, targets, lists, texts.given, texts.raw, model=texts.encoder.name,
            note=texts.note, seed=options.seed, rivals=self.rivals,
        )  # fmt: skip
        for line in report.notes[:1]:
            say(line)
        if found is not None and found.verdict == "worse" and not self.even_if_worse:
            page = report.write(home.reports / REFUSED)
            raise DataError(
                f"not published: a rival that learns next to nothing serves these users better; "
                f"{found.line()} ({page}). `triptych data doctor recommender` says what may be "
                "wrong with the tables; more events are what helps most; --even-if-worse publishes "
                "it all the same"
            )
        refitted = time.monotonic()
        say("training once more, on the whole log")
        channels = fit_all(
            texts.given, log, settings, held, seed=options.seed, device=device, say=say
        )
        again = held.again.repeats
        repeats = None if again is None else again.of_log(log)
        save_bundle(
            Bundle(catalog, channels, held.ranking, texts.whitening, texts.encoder, repeats), folder
        )
        save_outcomes([held_out_outcomes(held.parts.split, targets, lists, catalog)], folder)
        seconds = {"reading": read - started, "encoding": encoded - read} | held.seconds
        seconds["whole log"] = time.monotonic() - refitted
        return replace(report, seconds=seconds)

    def read(
        self, settings: RecommenderSettings, seed: int, say: Say
    ) -> tuple[Catalog, Interactions]:
        """The two files, with what was left out of them said."""
        items = read_catalog(self.items, mapping=self.mapping, settings=settings)
        for line in items.report.lines:
            say(f"items: {line}")
        events = read_interactions(
            self.events,
            items.catalog.ids,
            mapping=self.mapping,
            settings=settings.events,
            seed=seed,
        )
        for line in events.report.lines:
            say(f"events: {line}")
        return items.catalog, events.interactions

    def _settings(self, options: TrainOptions) -> RecommenderSettings:
        """The settings under the options of this call."""
        settings = read_settings(os.environ) if self.settings is None else self.settings
        if options.epochs is None:
            return settings
        sequence = settings.sequence.model_copy(update={"epochs": options.epochs, "least_steps": 0})
        return settings.model_copy(update={"sequence": sequence})


def _pairs_share(budget: CallBudget, say: Say) -> Share | None:
    """Of fine-tuning on pairs; None where only its own minutes bound it, if any do."""
    if budget.seconds is None:
        return None
    seconds = PAIRS_SHARE * max(0.0, budget.seconds - budget.spent())
    if budget.tuning is not None:
        seconds = min(seconds, budget.tuning)
    say(f"{seconds / 60:.1f} of {budget.seconds / 60:.3g} minutes are for fine-tuning on pairs")
    return Share(seconds)


def _held_out_seconds(budget: CallBudget, options: TrainOptions, spent: float) -> float | None:
    """For the models of the held-out part, None without a limit. spent: seconds, of the fit.

    As many again are kept for training once more, on the whole log, and the rest for the report.
    """
    left = None if budget.seconds is None else budget.seconds - budget.spent()
    if left is None and options.minutes is not None:
        left = 60 * options.minutes - spent
    return None if left is None else max(FEWEST_SECONDS, HELD_OUT_SHARE * left)


@dataclass(frozen=True, eq=False)
class Texts:
    """The catalogue as vectors. raw: (items, width) as the encoder gives them."""

    given: Given
    raw: Scores
    whitening: Whitening
    encoder: EncoderNote
    note: str


def embed(
    catalog: Catalog,
    parts: Parts,
    settings: RecommenderSettings,
    options: TrainOptions,
    folder: Path,
    home: Home,
    say: Say,
    budget: CallBudget | None = None,
) -> Texts:
    """Item vectors by the base encoder, or by one fine-tuned on behaviour where that is asked for
    and ranks better for the users who choose. budget: of the call.
    """
    base = resolve(options.base, cache=home.cache)
    embedder = open_base_encoder(
        base, cache=home.cache, threads=options.threads, device=options.device
    )
    say(f"encoding {len(catalog):,} item texts")
    raw = embedder.encode(catalog.texts, normalised=False)
    note = EncoderNote(base.name, base.sha256, embedder.fingerprint)
    said = f"the encoder {base.name} is as it came"
    wanted = options.method not in (*FROZEN, "auto") or (
        options.method == "auto" and settings.encoder.pairs > 0
    )
    if wanted:
        from apps.recommender.behaviour import tuned_encoder  # seconds to import

        tuned = tuned_encoder(
            catalog, parts, raw, settings, base, embedder, options, folder / ENCODER, say,
            None if budget is None else _pairs_share(budget, say),
        )  # fmt: skip
        said = tuned.line
        if not tuned.better:
            shutil.rmtree(folder / ENCODER, ignore_errors=True)
        else:
            raw = tuned.raw
            note = EncoderNote(base.name, base.sha256, tuned.fingerprint, ENCODER)
    whitening = fit_whitening(raw, settings.sequence.dimensions)
    meaning = whitening(raw)
    # An item without a text means nothing; the encoder would put all of them in one place.
    meaning[[not text for text in catalog.texts]] = 0.0
    say(f"encoder: {said}")
    return Texts(given(catalog, meaning, settings, note.fingerprint), raw, whitening, note, said)


def evaluate(
    model_folder: Path,
    input_file: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    say: Say = lambda _: None,
) -> Report:
    """A model on events that came after those it knows, for users old and new.

    Pairs the model already knows are no targets and left out; how many is in the notes.
    Raises: DataError when no event is left. ModelError: the folder.
    """
    recommender = Recommender.load(model_folder, home=home)
    bundle = recommender.bundle
    later = read_interactions(
        input_file,
        bundle.catalog.ids,
        mapping=mapping,
        settings=bundle.settings.events,
        seed=EVALUATION_SEED,
    )
    for line in later.report.lines:
        say(f"events: {line}")
    return later_report(recommender, later, seed=EVALUATION_SEED)
