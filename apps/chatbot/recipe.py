"""What the chatbot gives to be trained: examples, the objective, how it is judged."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from apps.chatbot.answers import ANSWERS_FILE, AnswerBook
from apps.chatbot.bot import Bot
from apps.chatbot.bot_files import BOT_FILE, CLASSIFIER_FOLDER, BotConfig
from apps.chatbot.doctor.examination import refuse_errors
from apps.chatbot.doctor.reading import Sources, of_questions
from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.given import given_by
from apps.chatbot.hardened import Hardening, forgetting
from apps.chatbot.held_rows import HeldRows
from apps.chatbot.judgement import judge, outcomes_of
from apps.chatbot.match_fitting import fit_choice
from apps.chatbot.matching import AnswerMatcher, Choice
from apps.chatbot.questions import (
    Questions,
    alone,
    present,
    questions_for,
    read_all,
    split_questions,
    with_answers,
)
from apps.chatbot.settings import ChatbotSettings
from apps.chatbot.unlabelled import Study
from shared.evaluation.drift import drift_notes
from shared.evaluation.forgetting import keep_texts
from shared.evaluation.leakage import UNKNOWN, TrainingRows
from shared.evaluation.model_card import Purpose
from shared.evaluation.outcomes import save_outcomes
from shared.evaluation.report import Report
from shared.inference.classifier import FusedClassifier
from shared.inference.model_encoders import ENCODER_FOLDER, open_base_encoder
from shared.inference.precedents import Precedents
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.inference.spelling import Spelling
from shared.intake import take_in
from shared.pretrained import PretrainedEncoder, resolve
from shared.registry import ModelVersion
from shared.settings import Home
from shared.tables import Column
from shared.training.examples import Examples, split
from shared.training.fusion import FusedFit
from shared.training.head_data import HeadData
from shared.training.learning import learn
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
    entities: Path | None = None
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
            ("entities", self.entities),
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
            DataError: the tables, or what the data doctor calls errors. ModelError: the base
                encoder.
        """
        questions = read_all(self.examples, self.mapping, home, say)
        files = Sources(
            tuple(self.examples), self.answers, mapping=self.mapping, entities=self.entities
        )
        data = of_questions(questions, self.answers, self.mapping)
        refuse_errors(data, files)
        book = data.book
        given = given_by(questions, self.entities, seed=options.seed, say=say)
        everything, train, held, cut = self._parts(questions, book, options, home, say)
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
        choice = _choice(book, train, learned.frozen[HEAD], embedder, options.seed)
        bot = self._assembled(
            base, found.classifier, book, train, embedder, spelling, choice, given.entities
        )
        fit = None if found.helped else learned.chosen[HEAD]
        notes = (
            *learned.notes,
            *learned.chosen[HEAD].notes,
            *found.notes,
            *hardening.chosen.notes,
            *given.notes,
            *drift_notes(embedder, bot.classifier.finetuned),
        )
        may_copy = None if cut else train
        report = replace(
            self._judged(bot, held, judge_oos, found.rivals, may_copy, options, notes),
            side_by_side=(*hardening.table(bot, held), *forgetting(bot, train, fit, self.previous)),
        )
        outcomes, taught, rankings = outcomes_of(bot, held), train, HeldRows.of(bot, held)
        if cut and learned.encoder is None:
            # The report is written; the rows it was written on may now teach too.
            taught = everything
            again = HeadData(HEAD, taught, refused, altered=head.altered)
            classifier, more = study.again(again, found)
            spelling = hardening.spelling(taught)
            bot = self._assembled(
                base, classifier, book, taught, embedder, spelling, choice, given.entities
            )
            report = replace(report, notes=(*report.notes, *more))
        if bot.precedents is None:
            report = replace(report, notes=(*report.notes, NO_PRECEDENTS))
        _write(bot, folder, keep_encoder=learned.encoder is not None)
        given.save(folder)
        TrainingRows.of(taught.texts).save(folder)
        save_outcomes(outcomes, folder)
        rankings.taught(taught.single).save(folder)
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
        choice: Choice | None,
        entities: Entities,
    ) -> Bot:
        config = self._config(base, classifier)
        return _assemble(config, classifier, book, taught, embedder, spelling, choice, entities)

    def heads(self, options: TrainOptions, *, home: Home, say: Say) -> tuple[HeadData, ...]:
        """What a search over recipes may see: the rows that teach, none that the report is on."""
        questions = read_all(self.examples, self.mapping, home, say)
        book = of_questions(questions, self.answers, self.mapping).book
        _, train, _, _ = self._parts(questions, book, options, home, say)
        return (HeadData(HEAD, train),)

    def _parts(
        self,
        questions: Questions,
        book: AnswerBook,
        options: TrainOptions,
        home: Home,
        say: Say,
    ) -> tuple[Examples, Examples, Examples, bool]:
        """All rows, those for training, held-out ones, and whether these were cut off."""
        everything = questions.examples()
        if self.validation:
            held = read_all(self.validation, self.mapping, home, say, like=questions)
            return everything, everything, held.examples(), False
        if alone(everything) and book.answers:
            say("each label has one question: its answer teaches beside it")
            asked, everything = len(everything), with_answers(everything, book)
            train, judged = split_questions(
                everything, asked, fraction=HELD_OUT_SHARE, seed=options.seed
            )
            return everything, train, judged, True
        parts = split(everything, fraction=HELD_OUT_SHARE, seed=options.seed)
        return everything, parts.train, parts.validation, True

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
    choice: Choice | None,
    entities: Entities,
) -> Bot:
    """A bot in memory. choice: how answers that no example asks for are weighed."""
    precedents = Precedents.of(classifier, train.texts, train.single)
    matcher = None
    if book.beyond(classifier.labels):
        matcher = replace(AnswerMatcher.of(book, classifier.labels, embedder), choice=choice)
    return Bot(config, classifier, book, matcher, embedder, precedents, spelling, entities=entities)


def _choice(
    book: AnswerBook, train: Examples, fit: FusedFit, embedder: Embedder, seed: int
) -> Choice | None:
    """fit: of the training rows, without fine-tuning."""
    intents = fit.classifier.labels
    if not book.beyond(intents):
        return None
    matcher = AnswerMatcher.of(book, intents, embedder)
    return fit_choice(matcher, train, embedder, fit.out_of_fold, seed)


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
