"""What the news monitor gives to be trained: sentiment and topics, and how they are judged."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.news_monitor.examples import labelled_rows, sentiment_examples, topic_examples
from apps.news_monitor.hardened import Hardening, forgetting
from apps.news_monitor.judgement import judge_labels, outcomes_of
from apps.news_monitor.labelling import (
    SENTIMENT_FOLDER,
    TOPICS_FOLDER,
    Labeller,
    LabellerConfig,
    write_config,
)
from apps.news_monitor.labels import SENTIMENTS
from shared.errors import DataError
from shared.evaluation.drift import drift_notes
from shared.evaluation.forgetting import keep_texts
from shared.evaluation.leakage import UNKNOWN, Copies, TrainingRows
from shared.evaluation.model_card import Purpose
from shared.evaluation.outcomes import save_outcomes
from shared.evaluation.report import Report
from shared.inference.classifier import FusedClassifier
from shared.inference.model_encoders import ENCODER_FOLDER, open_base_encoder
from shared.inference.precedents import SEPARATOR, Precedents
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.pretrained import PretrainedEncoder, resolve
from shared.registry import ModelVersion
from shared.settings import Home
from shared.tables import sniff_columns
from shared.training.examples import Examples, split
from shared.training.fusion import FusedFit
from shared.training.head_data import HeadData, Learned
from shared.training.learning import learn, refit
from shared.training.options import TrainOptions

SENTIMENT, TOPICS = "sentiment", "topics"
# Rows cut off each head's data for the report.
HELD_OUT_SHARE = 0.15
FALSE_NEGATIVE_NEWS = 0.05
"""Share of other stories that may be counted as negative: every further point of it costs more
surges than the recall it buys (measured: at .05 four in five surges of five times the usual are
found, at .15 about half)."""
LOWEST_THRESHOLD, HIGHEST_THRESHOLD = 0.2, 0.6

PURPOSE = Purpose(
    use="Labelling headlines with a topic and a sentiment, so that a surge of bad news on a topic "
    "is seen and a person looks at it.",
    not_for="trading by itself, rating a firm or a person by one headline, and texts much longer "
    "than a headline with its summary.",
    limits=(
        "Sentiment is that of the wording as the training rows have it, not of a share price.",
        "It was measured on sources like those it learned from; other sources write otherwise.",
        "Single labels err as often as the figures say: alerts rest on counts of many stories.",
    ),
)
Say = Callable[[str], None]
NO_PRECEDENTS = "Its explanations name no nearest training headlines: no row matches its vectors."


@dataclass(frozen=True)
class NewsRecipe:
    """Tables `text,label`, for sentiment and, from the same or other sources, for topics.

    mapping: our column names -> the files'. sentiment_labels: the files' values -> negative,
    neutral or positive, such as {"0": "negative"}. augment: altered copies of the rows are tried
    too. previous: earlier versions, to measure what is forgotten of them.
    """

    sentiment: Sequence[Path]
    topics: Sequence[Path] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    sentiment_labels: Mapping[str, str] = field(default_factory=dict)
    augment: bool = False
    previous: tuple[ModelVersion, ...] = ()
    app: str = "news"

    @property
    def sources(self) -> tuple[tuple[str, Path], ...]:
        """What each file is, and the file."""
        return (
            *((SENTIMENT, path) for path in self.sentiment),
            *((TOPICS, path) for path in self.topics),
        )

    @property
    def purpose(self) -> Purpose:
        return PURPOSE

    def fit(self, folder: Path, *, options: TrainOptions, home: Home, say: Say) -> Report:
        """Train both heads, judge them on rows held out, write the labeller into `folder`.

        Raises:
            DataError: the tables. ModelError: the base encoder.
        """
        wholes = self._examples(home, say)
        parts = {
            name: split(whole, fraction=HELD_OUT_SHARE, seed=options.seed)
            for name, whole in wholes.items()
        }
        base, embedder = _opened(options, home)
        folder.mkdir(parents=True, exist_ok=True)
        hardening = Hardening.of(
            [HeadData(name, part.train) for name, part in parts.items()],
            embedder=embedder, options=options, copies=self.augment, say=say,
        )  # fmt: skip
        learned = learn(
            hardening.heads, base=base, embedder=embedder, options=options,
            folder=folder / ENCODER_FOLDER, say=say,
        )  # fmt: skip
        held = {name: part.validation for name, part in parts.items()}
        train, unseen = parts[SENTIMENT].train, parts[SENTIMENT].validation
        labeller = _assemble(base, learned.chosen, train, unseen)
        notes = (
            *learned.notes,
            *(n for fit in learned.chosen.values() for n in fit.notes),
            *hardening.notes,
            *drift_notes(embedder, _finetuned(learned)),
        )
        report = self._judged(labeller, held, learned, options, notes)
        taught = {name: part.train for name, part in parts.items()}
        tables = (
            *hardening.tables(learned.chosen, held),
            *forgetting(learned.chosen, taught, self.previous),
        )
        report = replace(report, side_by_side=tables)
        outcomes = outcomes_of(labeller, held)
        if learned.encoder is None:
            # The report is written; the rows it was written on may now teach too.
            taught = wholes
            heads = [replace(head, examples=wholes[head.name]) for head in hardening.heads]
            fits = {h.name: refit(h, embedder=embedder, options=options) for h in heads}
            labeller = _assemble(base, fits, wholes[SENTIMENT], unseen)
            note = "The released model was then fitted again on all rows, the held-out ones too."
            report = replace(report, notes=(*report.notes, note))
        precedents = _precedents(labeller, taught)
        if len(precedents) < len(taught):
            report = replace(report, notes=(*report.notes, NO_PRECEDENTS))
        _write(labeller, folder, taught, precedents, keep_encoder=learned.encoder is not None)
        save_outcomes(outcomes, folder)
        keep_texts(outcomes, folder)
        return report

    def heads(self, options: TrainOptions, *, home: Home, say: Say) -> tuple[HeadData, ...]:
        """What a search over recipes may see: the rows that teach, none that the report is on."""
        return tuple(
            HeadData(name, split(whole, fraction=HELD_OUT_SHARE, seed=options.seed).train)
            for name, whole in self._examples(home, say).items()
        )

    def _examples(self, home: Home, say: Say) -> dict[str, Examples]:
        wholes = {
            SENTIMENT: sentiment_examples(
                self.sentiment,
                mapping=self.mapping,
                spellings=self.sentiment_labels,
                home=home,
                say=say,
            )
        }
        if self.topics:
            wholes[TOPICS] = topic_examples(self.topics, mapping=self.mapping, home=home, say=say)
        return wholes

    def _judged(
        self,
        labeller: Labeller,
        held: Mapping[str, Examples],
        learned: Learned,
        options: TrainOptions,
        notes: Sequence[str],
    ) -> Report:
        rivals = learned.frozen if learned.finetuned else {}
        return judge_labels(
            labeller,
            held,
            title="News labels from " + ", ".join(p.name for p in (*self.sentiment, *self.topics)),
            data=", ".join(f"{len(part)} held-out rows for {name}" for name, part in held.items()),
            rivals={name: fit.classifier for name, fit in rivals.items()},
            seed=options.seed,
            notes=notes,
        )

    def after(self, previous: Sequence[ModelVersion]) -> "NewsRecipe":
        """The same, measuring what is forgotten of these versions."""
        return replace(self, previous=tuple(previous))


def _opened(options: TrainOptions, home: Home) -> tuple[PretrainedEncoder, RememberingEmbedder]:
    base = resolve(options.base, cache=home.cache)
    opened = open_base_encoder(
        base, cache=home.cache, threads=options.threads, device=options.device
    )
    return base, RememberingEmbedder(opened)


def _finetuned(learned: Learned) -> Embedder | None:
    """The fine-tuned encoder, if any head uses it."""
    found = [fit.classifier.finetuned for fit in learned.chosen.values()]
    return next((encoder for encoder in found if encoder is not None), None)


def evaluate(
    folder: Path,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    say: Say,
    sentiment_labels: Mapping[str, str] = {},
) -> Report:
    """Judge a released labeller on somebody's table `text,label`, the label a sentiment or topics,
    or on `text,sentiment[,topics]`.

    Raises DataError for the table, or if the model knows none of its topics.
    """
    labeller = Labeller.load(folder, home=home)
    held = rows_for(labeller, path, mapping, home, say, sentiment_labels)
    copies = copies_in(folder, held)
    return judge_labels(
        labeller,
        held,
        title=f"News labels on {path.name}",
        data=f"{max(len(part) for part in held.values())} rows of {path.name}",
        rivals={},
        seed=13,
        notes=() if copies else (UNKNOWN,),
        copies=copies,
    )


def copies_in(folder: Path, held: Mapping[str, Examples]) -> dict[str, Copies]:
    """Head -> which rows are copies of its training rows; no heads for a version that did not
    keep signatures of them."""
    taught = {name: TrainingRows.load(folder / name) for name in held}
    return {
        name: rows.copies(held[name].texts) for name, rows in taught.items() if rows is not None
    }


def rows_for(
    labeller: Labeller,
    path: Path,
    mapping: Mapping[str, str],
    home: Home,
    say: Say,
    sentiment_labels: Mapping[str, str] = {},
) -> dict[str, Examples]:
    """The rows of a table for each head it can judge; see `evaluate`."""
    present = sniff_columns(path)
    plans: list[tuple[str, Mapping[str, str]]] = []
    for head in (SENTIMENT, TOPICS):
        if mapping.get(head, head) in present:
            plans.append((head, {**mapping, "label": mapping.get(head, head)}))
    if not plans:
        rows = labelled_rows(path, mapping, home, say, empty_labels=True)
        spelled = {value.casefold() for value in sentiment_labels} | set(SENTIMENTS)
        found = {label.casefold() for _, label in rows}
        plans = [(SENTIMENT if found <= spelled else TOPICS, mapping)]
    held: dict[str, Examples] = {}
    for head, names in plans:
        if head == SENTIMENT:
            held[head] = sentiment_examples(
                [path], mapping=names, spellings=sentiment_labels, home=home, say=say
            )
        elif labeller.topics:
            held[head] = topic_examples([path], mapping=names, home=home, say=say)
            if not set(held[head].names) & set(labeller.topics):
                raise DataError(
                    f"{path}: none of its topics ({', '.join(held[head].names[:4])}, …) is known "
                    f"to this model ({', '.join(labeller.topics[:4])}, …)"
                )
    if not held:
        raise DataError(f"{path}: has topics only, and this model was trained without topics")
    return held


def _assemble(
    base: PretrainedEncoder,
    fits: Mapping[str, FusedFit],
    trained: Examples,
    held: Examples,
) -> Labeller:
    """trained, held: the sentiment rows the classifier was fitted on, and others."""
    chances, negative = _unseen(fits[SENTIMENT], trained, held)
    threshold = negative_threshold(chances, negative)
    tuned = [f.classifier.finetuned for f in fits.values() if f.classifier.finetuned is not None]
    config = LabellerConfig(
        base=base.name,
        base_sha256=base.sha256,
        base_fingerprint=fits[SENTIMENT].classifier.embedder.fingerprint,
        finetuned_fingerprint=tuned[0].fingerprint if tuned else None,
        topics=TOPICS in fits,
        negative_threshold=threshold,
        negative_recall=float((chances[negative] >= threshold).mean()),
        negative_false_rate=float((chances[~negative] >= threshold).mean()),
    )
    topics = fits[TOPICS].classifier if TOPICS in fits else None
    return Labeller(config, fits[SENTIMENT].classifier, topics, name="in training", fingerprint="")


def _unseen(
    fit: FusedFit, trained: Examples, held: Examples
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probability of negative, and truth, of rows no parameter was fitted on: out of fold, or the
    held-out rows where a fine-tuned encoder left none out of fold."""
    column = fit.classifier.labels.index("negative")
    chances = fit.out_of_fold[:, column]
    known = ~np.isnan(chances)
    if known.any():
        truth = trained.targets(("negative",))[known, 0]
        return chances[known].astype(np.float64), truth
    chances = fit.classifier.predict_proba(held.texts)[:, column]
    return chances.astype(np.float64), held.targets(("negative",))[:, 0]


def negative_threshold(chances: NDArray[np.float64], negative: NDArray[np.bool_]) -> float:
    """The probability from which a story counts as negative: FALSE_NEGATIVE_NEWS of the others
    reach it. Within [0.2, 0.6]: outside, what is counted would not be what is shown."""
    others = np.sort(chances[~negative])
    if not others.size:
        return 0.5
    limit = float(np.quantile(others, 1.0 - FALSE_NEGATIVE_NEWS))
    return float(np.clip(limit, LOWEST_THRESHOLD, HIGHEST_THRESHOLD))


def _precedents(labeller: Labeller, taught: Mapping[str, Examples]) -> dict[str, Precedents]:
    """Head -> which of the rows it learned from its dense scorer knows."""
    heads = {SENTIMENT: labeller.sentiment, TOPICS: labeller.topic_classifier}
    found: dict[str, Precedents] = {}
    for name, examples in taught.items():
        labels = [SEPARATOR.join(each) for each in examples.labels]
        head = heads[name]
        kept = None if head is None else Precedents.of_known(head, examples.texts, labels)
        if kept is not None:
            found[name] = kept
    return found


def _write(
    labeller: Labeller,
    folder: Path,
    taught: Mapping[str, Examples],
    precedents: Mapping[str, Precedents],
    *,
    keep_encoder: bool,
) -> None:
    """taught: the rows each head learned from, of which signatures are kept. precedents: those
    kept themselves, head by head."""
    if not keep_encoder and (folder / ENCODER_FOLDER).exists():
        shutil.rmtree(folder / ENCODER_FOLDER)
    write_config(folder, labeller.config)
    heads: dict[str, FusedClassifier | None] = {
        SENTIMENT_FOLDER: labeller.sentiment,
        TOPICS_FOLDER: labeller.topic_classifier,
    }
    for name, classifier in heads.items():
        if classifier is not None:
            (folder / name).mkdir()
            classifier.save(folder / name)
    for name, examples in taught.items():
        TrainingRows.of(examples.texts).save(folder / name)
    for name, kept in precedents.items():
        kept.save(folder / name)
