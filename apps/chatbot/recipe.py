"""What the chatbot gives to be trained: examples, the objective, how it is judged."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.chatbot.answers import ANSWERS_FILE, AnswerBook, read_answers
from apps.chatbot.bot import (
    BOT_FILE,
    CLASSIFIER_FOLDER,
    Bot,
    BotConfig,
)
from apps.chatbot.hardened import Hardening, forgetting
from apps.chatbot.judgement import judge, outcomes_of
from apps.chatbot.matching import AnswerMatcher
from apps.chatbot.precedents import Precedents
from apps.chatbot.questions import Questions, joined, present, questions_for, read_all
from apps.chatbot.settings import ChatbotSettings
from apps.chatbot.unlabelled import Study
from shared.evaluation.calibration import fit_platt
from shared.evaluation.drift import drift_notes
from shared.evaluation.forgetting import keep_texts
from shared.evaluation.leakage import UNKNOWN, TrainingRows
from shared.evaluation.model_card import Purpose
from shared.evaluation.outcomes import save_outcomes
from shared.evaluation.report import Report
from shared.inference.classifier import FusedClassifier
from shared.inference.model_encoders import ENCODER_FOLDER, open_base_encoder
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.inference.spelling import Spelling
from shared.intake import take_in
from shared.pretrained import PretrainedEncoder, resolve
from shared.registry import ModelVersion
from shared.settings import Home
from shared.tables import Column
from shared.training.examples import Examples, split
from shared.training.learning import HeadData, learn
from shared.training.options import TrainOptions

HEAD = "intent"
# Rows cut off for the report where no validation file is given.
HELD_OUT_SHARE = 0.15

PURPOSE = Purpose(
    use="Understanding what a customer of this firm asks and choosing the firm's own answer to it; "
    "asking back, refusing or handing over where it is not sure.",
    not_for="questions outside the labels it was trained on, advice on law, health or money, and "
    "decisions about a person without a person.",
    limits=(
        "It says only what stands in the answer templates; it writes no text of its own.",
        "It was measured on rows like those it learned from: what customers ask changes, so "
        "measure again on new questions (`triptych evaluate chatbot`).",
        "A label with few examples is known as badly as its interval says.",
    ),
)
Say = Callable[[str], None]
NO_PRECEDENTS = (
    "Its explanations name no nearest questions: its dense scorer does not weigh every one of them."
)


@dataclass(frozen=True)
class ChatbotRecipe:
    """Tables `text,label` or `question,answer`; see `triptych train chatbot --help`.

    augment: altered copies of the rows are tried too. previous: earlier versions, to measure what
    is forgotten of them.
    """

    examples: Sequence[Path]
    validation: Sequence[Path] = ()
    out_of_scope: Path | None = None
    answers: Path | None = None
    unlabelled: Path | None = None
    augment: bool = False
    previous: tuple[ModelVersion, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    settings: ChatbotSettings = field(default_factory=ChatbotSettings)
    app: str = "chatbot"

    @property
    def sources(self) -> tuple[tuple[str, Path], ...]:
        """What each file is, and the file."""
        single = (
            ("out of scope", self.out_of_scope),
            ("answers", self.answers),
            ("unlabelled", self.unlabelled),
        )
        return (
            *(("examples", path) for path in self.examples),
            *(("validation", path) for path in self.validation),
            *((role, path) for role, path in single if path is not None),
        )

    @property
    def purpose(self) -> Purpose:
        return PURPOSE

    def fit(self, folder: Path, *, options: TrainOptions, home: Home, say: Say) -> Report:
        """Train, judge on rows held out, write the bot into `folder`.

        Raises:
            DataError: the tables. ModelError: the base encoder.
        """
        questions = read_all(self.examples, self.mapping, home, say)
        book = joined(questions.answers, self._answer_file())
        train, held, cut = self._parts(questions, options, home, say)
        refused = self._texts(self.out_of_scope, home, say)
        learn_oos, judge_oos = refused[::2], refused[1::2]
        base, embedder = _opened(options, home)
        hardening = Hardening.of(
            HeadData(HEAD, train, learn_oos), embedder=embedder, options=options,
            copies=self.augment, unlabelled=self.unlabelled is not None, say=say,
        )  # fmt: skip
        study = Study.apart_from(
            held.texts, self._texts(self.unlabelled, home, say),
            embedder=embedder, options=options, say=say,
        )  # fmt: skip
        head = replace(hardening.head, unlabelled=study.apart)
        learned = learn(
            [head], base=base, embedder=embedder, options=options,
            folder=folder / ENCODER_FOLDER, say=say,
        )  # fmt: skip
        found = study.on(head, learned)
        spelling = hardening.spelling(train)
        bot = self._assembled(base, found.classifier, book, train, embedder, spelling)
        fit = None if found.helped else learned.chosen[HEAD]
        notes = (
            *learned.notes,
            *learned.chosen[HEAD].notes,
            *found.notes,
            *hardening.chosen.notes,
            *drift_notes(embedder, bot.classifier.finetuned),
        )
        may_copy = None if cut else train
        report = replace(
            self._judged(bot, held, judge_oos, found.rivals, may_copy, options, notes),
            side_by_side=(*hardening.table(bot, held), *forgetting(bot, train, fit, self.previous)),
        )
        outcomes, taught = outcomes_of(bot, held), train
        if cut and learned.encoder is None:
            # The report is written; the rows it was written on may now teach too.
            taught = questions.examples()
            again = HeadData(HEAD, taught, refused, altered=head.altered)
            classifier, more = study.again(again, found)
            spelling = hardening.spelling(taught)
            bot = self._assembled(base, classifier, book, taught, embedder, spelling)
            report = replace(report, notes=(*report.notes, *more))
        if bot.precedents is None:
            report = replace(report, notes=(*report.notes, NO_PRECEDENTS))
        _write(bot, folder, keep_encoder=learned.encoder is not None)
        TrainingRows.of(taught.texts).save(folder)
        save_outcomes(outcomes, folder)
        keep_texts(outcomes, folder)
        return report

    def _judged(
        self,
        bot: Bot,
        held: Examples,
        refused: Sequence[str],
        rivals: Mapping[str, FusedClassifier],
        train: Examples | None,
        options: TrainOptions,
        notes: Sequence[str],
    ) -> Report:
        """train: rows that the held-out ones may be copies of."""
        return judge(
            bot,
            held,
            refused,
            title=f"Chatbot from {', '.join(path.name for path in self.examples)}",
            data=f"{len(held)} held-out questions"
            + (f" and {len(refused)} out of scope" if refused else ""),
            rivals=rivals,
            seed=options.seed,
            notes=notes,
            copies=None if train is None else TrainingRows.of(train.texts).copies(held.texts),
        )

    def after(self, previous: Sequence[ModelVersion]) -> "ChatbotRecipe":
        """The same, measuring what is forgotten of these versions."""
        return replace(self, previous=tuple(previous))

    def _assembled(
        self,
        base: PretrainedEncoder,
        classifier: FusedClassifier,
        book: AnswerBook,
        taught: Examples,
        embedder: Embedder,
        spelling: Spelling | None,
    ) -> Bot:
        config = self._config(base, classifier)
        return _assemble(config, classifier, book, taught, embedder, spelling)

    def heads(self, options: TrainOptions, *, home: Home, say: Say) -> tuple[HeadData, ...]:
        """What a search over recipes may see: the rows that teach, none that the report is on."""
        questions = read_all(self.examples, self.mapping, home, say)
        train, _, _ = self._parts(questions, options, home, say)
        return (HeadData(HEAD, train),)

    def _answer_file(self) -> AnswerBook:
        return read_answers(self.answers, self.mapping) if self.answers else AnswerBook()

    def _parts(
        self, questions: Questions, options: TrainOptions, home: Home, say: Say
    ) -> tuple[Examples, Examples, bool]:
        """Training rows, held-out rows, and whether the latter were cut off the former."""
        everything = questions.examples()
        if not self.validation:
            parts = split(everything, fraction=HELD_OUT_SHARE, seed=options.seed)
            return parts.train, parts.validation, True
        held = read_all(self.validation, self.mapping, home, say, like=questions)
        return everything, held.examples(), False

    def _texts(self, path: Path | None, home: Home, say: Say) -> tuple[str, ...]:
        if path is None:
            return ()
        table = take_in(
            path,
            [Column("text")],
            mapping=present(self.mapping, ("text",)),
            rejects=home.reports / "rejects",
            say=say,
        )
        return tuple(table.frame["text"])

    def _config(self, base: PretrainedEncoder, classifier: FusedClassifier) -> BotConfig:
        settings = self.settings
        return BotConfig(
            base=base.name,
            base_sha256=base.sha256,
            base_fingerprint=classifier.embedder.fingerprint,
            finetuned_fingerprint=(
                None if classifier.finetuned is None else classifier.finetuned.fingerprint
            ),
            alpha=settings.risk,
            oos_threshold=classifier.oos_threshold(settings.in_scope_loss),
            max_options=settings.max_options,
            handover_labels=settings.handover_labels,
            matched_labels=(),
            match_slope=0.0,
            match_intercept=0.0,
        )


def _opened(options: TrainOptions, home: Home) -> tuple[PretrainedEncoder, RememberingEmbedder]:
    base = resolve(options.base, cache=home.cache)
    opened = open_base_encoder(
        base, cache=home.cache, threads=options.threads, device=options.device
    )
    return base, RememberingEmbedder(opened)


def evaluate(
    folder: Path, path: Path, mapping: Mapping[str, str], home: Home, *, say: Say
) -> Report:
    """Judge a released bot on somebody's `text,label` or `question,answer` table.

    Raises:
        DataError: the table, or none of its labels is known to the model.
    """
    bot = Bot.load(folder, home=home)
    asked = questions_for(bot, path, mapping, home, say)
    taught = TrainingRows.load(folder)
    return judge(
        bot,
        asked,
        (),
        title=f"Chatbot on {path.name}",
        data=f"{len(asked)} questions of {path.name}",
        rivals={},
        seed=13,
        notes=(UNKNOWN,) if taught is None else (),
        copies=None if taught is None else taught.copies(asked.texts),
    )


def _assemble(
    config: BotConfig,
    classifier: FusedClassifier,
    book: AnswerBook,
    train: Examples,
    embedder: Embedder,
    spelling: Spelling | None,
) -> Bot:
    """A bot in memory; answers no example asks for get a matcher calibrated on those that have."""
    beyond = book.beyond(classifier.labels)
    precedents = Precedents.of(classifier, train.texts, train.single)
    if not beyond:
        return Bot(config, classifier, book, None, embedder, precedents, spelling)
    labels = tuple(answer.label for answer in book.answers)
    matcher = AnswerMatcher.from_answers(
        labels, [answer.template() for answer in book.answers], embedder
    )
    slope, intercept = _match_curve(matcher, train, embedder)
    return Bot(
        replace(config, matched_labels=labels, match_slope=slope, match_intercept=intercept),
        classifier,
        book,
        matcher.with_curve(slope, intercept),
        embedder,
        precedents,
        spelling,
    )


def _match_curve(
    matcher: AnswerMatcher, train: Examples, embedder: Embedder
) -> tuple[float, float]:
    """How often the nearest answer is the right one, as a function of its similarity.

    Learned from the training questions whose answer is among the answers; without any the curve
    is (0, -50): a match is then never probable, and only ever offered by the ranking.
    """
    rows = [i for i, label in enumerate(train.single) if label in set(matcher.labels)]
    if len(rows) < 20:
        return 0.0, -50.0
    vectors = embedder.encode([train.texts[i] for i in rows])
    scores: NDArray[np.float32] = matcher.similarities(vectors)
    best = scores.argmax(axis=1)
    right = np.array(
        [matcher.labels[j] == train.single[i] for i, j in zip(rows, best, strict=True)]
    )
    curve = fit_platt(scores.max(axis=1), right)
    return curve.slope, curve.offset


def _write(bot: Bot, folder: Path, *, keep_encoder: bool) -> None:
    if not keep_encoder and (folder / ENCODER_FOLDER).exists():
        shutil.rmtree(folder / ENCODER_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    config = asdict(bot.config)
    (folder / BOT_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    bot.answers.save(folder / ANSWERS_FILE)
    (folder / CLASSIFIER_FOLDER).mkdir()
    bot.classifier.save(folder / CLASSIFIER_FOLDER)
    if bot.matcher is not None:
        bot.matcher.save(folder)
    if bot.precedents is not None:
        bot.precedents.save(folder)
    if bot.spelling is not None:
        bot.spelling.save(folder)
