"""The chatbot as it serves: a message in; intent, decision and answer out. Keeps no state."""

import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.chatbot.answers import ANSWERS_FILE, OURS, AnswerBook, Rendered, is_ours, render, say
from apps.chatbot.bot_files import CLASSIFIER_FOLDER, BotConfig, read_config
from apps.chatbot.decision import Decided, Decision, decide
from apps.chatbot.entities.entities import Entities
from apps.chatbot.entities.spans import Span, joined
from apps.chatbot.live import LiveFile
from apps.chatbot.matching import AnswerMatcher
from apps.chatbot.phrases import named, phrases_for, wants_person
from apps.chatbot.taught import TAUGHT, Taught, with_answers
from shared.device import Device
from shared.errors import ModelError
from shared.inference.batches import unit_length
from shared.inference.classifier import FusedClassifier, Prediction
from shared.inference.dense import distance_to
from shared.inference.gathered import Gathered
from shared.inference.model_encoders import OpenEncoders, open_model_encoders
from shared.inference.precedents import Precedents
from shared.inference.runtime import Embedder
from shared.inference.spelling import Spelling
from shared.settings import Home, wanted_device
from shared.text import detect_language, normalise

LOG = logging.getLogger(__name__)
# An answer without examples that is likelier than all else is given though no example is near.
LIKELY = 0.5
# Messages of several customers that are read as one batch, and the length in characters above which
# one is read by itself: in a batch all are padded to the longest.
GATHERED, LONG = 16, 500

PREDICTION_COLUMNS = (
    "text",
    "intent",
    "probability",
    "decision",
    "oos_score",
    "answer",
    "ranking",
)


@dataclass(frozen=True)
class Option:
    """One choice of a question back."""

    label: str
    title: str


@dataclass(frozen=True)
class Reply:
    """What the bot makes of one message.

    answer: the template of `intent` as written, "" where there is none, also when the decision is
    not to answer. message: what to say to the customer. missing_slot: what must be asked before the
    template can be said. probability: calibrated; why: the rule that decided, in words, and how the
    message was read where slips in it were mended. scorers: each scorer's own probability of the
    intent. passed_on: the intent is known, and a person must answer it: no template can be said.
    entities: the values found in the text.
    """

    text: str
    intent: str
    probability: float
    decision: Decision
    oos_score: float
    answer: str
    ranking: tuple[tuple[str, float], ...]
    options: tuple[Option, ...]
    message: str
    missing_slot: str | None
    language: str
    why: str
    scorers: Mapping[str, float]
    passed_on: bool = False
    entities: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Spoken:
    """A sentence for the customer; missing_slot: what it asks for, None when it is the answer.
    passed_on: it says that a person will answer. when: the condition that chose it, "" for none."""

    text: str
    missing_slot: str | None
    passed_on: bool = False
    when: str = ""


class Bot:
    """Load with `Bot.load`; ask with `reply`."""

    def __init__(
        self,
        config: BotConfig,
        classifier: FusedClassifier,
        answers: AnswerBook,
        matcher: AnswerMatcher | None,
        embedder: Embedder,
        precedents: Precedents | None = None,
        spelling: Spelling | None = None,
        live: LiveFile | None = None,
        is_open: Callable[[], bool] = lambda: True,
        entities: Entities | None = None,
    ) -> None:
        """precedents: the training questions, where they are kept. spelling: mends words before
        they are read, where that helped in training. live: what is changed without training.
        is_open: whether colleagues are there, on which an answer may depend; always by default.
        entities: what is found in messages; the typed slots alone by default."""
        self.config = config
        self.classifier = classifier
        # What was taught since, and the answers with it: one value, replaced whole.
        self._now: tuple[Taught | None, AnswerBook] = (None, answers)
        self._edited = answers  # its own, as people have edited them since
        self._changing = threading.Lock()
        self._is_open = is_open
        self.matcher = matcher
        self.precedents = precedents
        self.spelling = spelling
        self.entities = entities or Entities()
        self._beyond = {a.label for a in answers.beyond(classifier.labels)}
        self._embedder = embedder
        self._together = Gathered(self._predictions, most=GATHERED, at_once=1)
        self._trained = (config, answers)
        self._live = live
        self._live_seen: tuple[int, int, int] | None = None
        if live is not None:
            self._take(live)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        home: Home,
        threads: int | None = None,
        device: Device | None = None,
        opened: OpenEncoders | None = None,
        live: bool = False,
        is_open: Callable[[], bool] = lambda: True,
    ) -> "Bot":
        """Read a model folder. device: by default that of the settings. opened: encoders that this
        process shares. live: with the risk and the answers that were changed since, and those that
        will be; else as it was trained. is_open: see the constructor.

        Raises:
            ModelError: a file is missing or broken, or the base encoder is not the one of training.
            SettingsError: the device asked for is not there, or cannot serve this model.
        """
        config = read_config(folder)
        encoders = open_model_encoders(
            folder, config, cache=home.cache, threads=threads, opened=opened,
            device=wanted_device(device, os.environ),
        )  # fmt: skip
        classifier = FusedClassifier.load(
            folder / CLASSIFIER_FOLDER, embedder=encoders.base, finetuned=encoders.finetuned
        )
        answers = AnswerBook.load(folder / ANSWERS_FILE)
        matcher = AnswerMatcher.load(
            folder, answers=answers, intents=classifier.labels, dim=encoders.base.dim
        )
        precedents = Precedents.load(folder, classifier)
        spelling = Spelling.load(folder)
        return cls(
            config, classifier, answers, matcher, encoders.base, precedents, spelling,
            LiveFile(folder.parent) if live else None, is_open, Entities.load(folder),
        )  # fmt: skip

    def catch_up(self) -> None:
        """Take over what was changed without training since the last call; costs a look at a file.
        What cannot be read changes nothing."""
        if self._live is None or self._live.changed == self._live_seen:
            return
        try:
            self._take(self._live)
        except ModelError as error:
            LOG.warning("%s", error)

    def _take(self, live: LiveFile) -> None:
        # Looked at before it is read: what is written in between is read again.
        self._live_seen = live.changed
        found, (config, answers) = live.read(), self._trained
        with self._changing:
            self._edited = found.book(answers)
            self.config = config if found.risk is None else replace(config, alpha=found.risk)
            self._teach(self.taught)

    @property
    def answers(self) -> AnswerBook:
        """Its own, as they were edited since, and those taught since."""
        return self._now[1]

    @property
    def taught(self) -> Taught | None:
        """What it was taught since its training; None: nothing."""
        return self._now[0]

    def teach(self, taught: Taught | None) -> None:
        """Answer by this from the next message on; other threads may be answering meanwhile."""
        with self._changing:
            self._teach(taught)

    def _teach(self, taught: Taught | None) -> None:
        book = self._edited
        self._now = (taught, book if taught is None else with_answers(book, taught.answers))

    def read(self, texts: Sequence[str]) -> list[str]:
        """The texts as its classifier is to see them: in one normal form, slips mended."""
        clean = [normalise(text) for text in texts]
        return clean if self.spelling is None else self.spelling.all_corrected(clean)

    def reply(self, texts: Sequence[str], slots: Mapping[str, str] | None = None) -> list[Reply]:
        """One reply for each text, in order. slots: values already known of this customer."""
        if not texts:
            return []
        self.catch_up()
        clean, read = [normalise(text) for text in texts], self.read(texts)
        short = all(len(text) <= LONG for text in read)
        predictions = self._together(read) if short else self._predictions(read)
        return [
            self._reply(raw, text, prediction, slots or {}, mended)
            for raw, text, mended, prediction in zip(texts, clean, read, predictions, strict=True)
        ]

    def _predictions(self, read: list[str]) -> list[Prediction]:
        """What each text asks for, unseen answers too; of texts as `read` makes them."""
        since = self.taught
        features = None  # (n, k * dim) of the base encoder, where somebody asks for them
        if self.classifier.asks_base or self.matcher or since:
            features = self._embedder.features(read)
        scores = self.classifier.score(read, features=features)
        predictions = self.classifier.predictions(scores, alpha=self.config.alpha)
        if self.matcher and features is not None:
            predictions = self.matcher.weighed(
                read,
                unit_length(features[:, : self._embedder.dim]),
                scores.probabilities,
                predictions,
                self.config.alpha,
            )
        if since and features is not None:
            vectors = self.classifier.dense.views(features)
            predictions = since.weighed(
                read, vectors, distance_to(vectors, self.classifier.dense.known), predictions
            )
        return predictions

    def predict_frame(self, texts: Sequence[str]) -> pd.DataFrame:
        """The columns of `triptych predict chatbot`, one row for each text, in order."""
        rows = [
            (
                r.text,
                r.intent,
                r.probability,
                r.decision,
                r.oos_score,
                r.answer,
                json.dumps([[label, round(p, 6)] for label, p in r.ranking], ensure_ascii=False),
            )
            for r in self.reply(texts)
        ]
        return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))

    def _reply(
        self,
        raw: str,
        text: str,
        prediction: Prediction,
        slots: Mapping[str, str],
        mended: str,
    ) -> Reply:
        language = detect_language(text)
        decided = self._decided(prediction, text)
        intent = prediction.label
        answer = self.answers.by_label.get(intent)
        entities = self.entities.find(raw)
        spoken = self._spoken(decided, intent, language, joined(slots, entities))
        why = f"{decided.why}; said when {spoken.when}" if spoken.when else decided.why
        return Reply(
            text=raw,
            intent=intent,
            probability=prediction.probability,
            decision=decided.decision,
            oos_score=prediction.oos_score,
            answer=answer.template(language) if answer else "",
            ranking=prediction.ranking,
            options=tuple(
                Option(label, self.answers.title(label, language)) for label in decided.labels
            )
            if decided.decision == "clarify"
            else (),
            message=spoken.text if text else phrases_for(language).empty,
            missing_slot=spoken.missing_slot,
            language=language,
            why=why if mended == text else f"{why}; read as “{mended}”",
            scorers=prediction.scorers,
            passed_on=spoken.passed_on,
            entities=entities,
        )

    @property
    def nonconformity(self) -> NDArray[np.float32]:
        """(m,) of the calibration rows, from which the conformal sets come."""
        if self.matcher is not None and self.matcher.choice is not None:
            return self.matcher.choice.nonconformity
        return self.classifier.fusion.nonconformity

    def refuses_far(self, label: str, probability: float) -> bool:
        """Whether a message taken for this is refused where it is far from all examples."""
        # What no example asks for is far from all examples.
        return not (label in self._beyond and probability >= LIKELY)

    def _decided(self, prediction: Prediction, text: str) -> Decided:
        if not text:
            return Decided("reject", (), "the message is empty")
        if TAUGHT in prediction.scorers:
            decided = decide(
                prediction, self.config.policy, wants_person=wants_person(text), scoped=False
            )
            return replace(decided, why=f"{decided.why}; like a question taught since the training")
        unseen = prediction.label in self._beyond
        decided = decide(
            prediction,
            self.config.policy,
            wants_person=wants_person(text),
            scoped=self.refuses_far(prediction.label, prediction.probability),
        )
        if unseen and decided.decision in ("answer", "clarify"):
            return replace(decided, why=f"{decided.why}; found by the meaning of its text")
        return decided

    def say(self, label: str, language: str, slots: Mapping[str, str]) -> Spoken:
        """The answer to an intent in words, or the question for the slot it lacks; where only the
        firm could fill that slot, as where there is no answer or none that may be said now, it is
        passed on."""
        self.catch_up()
        phrases = phrases_for(language)
        answer = self.answers.by_label.get(label)
        fitting = answer.fitting(language, slots, open_now=self._is_open()) if answer else ()
        rendered = (
            say([each.template for each in fitting], slots) if fitting else Rendered(None, OURS)
        )
        if rendered.text is None and is_ours(rendered.missing or OURS):
            title = self.answers.title(label, language)
            return Spoken(phrases.no_answer.format(title=title), None, passed_on=True)
        if rendered.text is None:
            slot = rendered.missing or ""
            return Spoken(phrases.ask_slot.format(slot=named(slot)), slot)
        said = (each for each in fitting if render(each.template, slots).text == rendered.text)
        return Spoken(rendered.text, None, when=next(said).when)

    def _spoken(
        self, decided: Decided, intent: str, language: str, slots: Mapping[str, str]
    ) -> Spoken:
        phrases = phrases_for(language)
        if decided.decision == "answer":
            return self.say(intent, language, slots)
        if decided.decision == "clarify":
            return Spoken(phrases.clarify, None)
        if decided.decision == "handover":
            return Spoken(phrases.handover, None)
        return Spoken(phrases.reject, None)
