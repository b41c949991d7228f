"""The model that labels headlines: sentiment and topics from one pass through the encoder."""

import hashlib
import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.news_monitor.labels import NEGATIVE, SENTIMENTS, Labels, Worth
from shared.device import Device
from shared.errors import ModelError
from shared.evaluation.explain import explain
from shared.inference.batches import unit_length
from shared.inference.classifier import FusedClassifier
from shared.inference.model_encoders import OpenEncoders, open_model_encoders
from shared.inference.precedents import Precedents
from shared.settings import Home, wanted_device
from shared.text import normalise

CONFIG_FILE = "news.json"
SENTIMENT_FOLDER, TOPICS_FOLDER = "sentiment", "topics"
PREDICTION_COLUMNS = (
    "text",
    "sentiment",
    "p_negative",
    "p_neutral",
    "p_positive",
    "topics",
    "topic_scores",
)
WEB_ADDRESS = re.compile(r"https?://\S+")
UNRELATED = (
    "Airline orders forty new jets",
    "Central bank leaves interest rates unchanged",
    "Wheat harvest hit by drought in the east",
    "Phone maker's profit beats forecasts",
    "Court blocks merger of two hospital chains",
    "Oil pipeline shut after leak",
)
"""Six headlines of six events, by which an encoder shows how near it puts what is not related."""


@dataclass(frozen=True)
class LabellerConfig:
    """news.json. base_fingerprint, finetuned_fingerprint: of the vectors the classifiers know;
    None: no fine-tuned encoder. negative_threshold: the probability from which a story is counted
    as negative; negative_recall and negative_false_rate: what that found on unseen rows."""

    base: str
    base_sha256: str
    base_fingerprint: str
    finetuned_fingerprint: str | None
    topics: bool
    negative_threshold: float
    negative_recall: float
    negative_false_rate: float


def headline(text: str) -> str:
    """A headline as the model reads it, in training and in use: entities resolved, one normal
    form, without web addresses (tweets end in one, and it says nothing)."""
    plain = normalise(html.unescape(text))
    return WEB_ADDRESS.sub("", plain).strip() or plain


class Labeller:
    """Load with `Labeller.load`; label with `label`."""

    def __init__(
        self,
        config: LabellerConfig,
        sentiment: FusedClassifier,
        topics: FusedClassifier | None,
        *,
        name: str,
        fingerprint: str,
        precedents: Mapping[str, Precedents] = {},
    ) -> None:
        """precedents: head -> its training headlines, where the version keeps them."""
        self.config = config
        self.sentiment = sentiment
        self.topic_classifier = topics
        self.name = name
        self.fingerprint = fingerprint
        self.precedents = precedents

    @property
    def encoder(self) -> str:
        """Of the vectors of `label_with_vectors`."""
        return self.sentiment.embedder.fingerprint

    @cached_property
    def unrelated(self) -> float:
        """See LabelVectors; asked of the encoder once, with six headlines."""
        vectors = self.sentiment.embedder.encode(UNRELATED)
        pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
        return float(pairs.mean())

    @property
    def worth(self) -> Worth:
        """As measured when it was trained."""
        return Worth(self.config.negative_recall, self.config.negative_false_rate)

    @property
    def topics(self) -> tuple[str, ...]:
        """All topics the model knows; empty if it was trained without any."""
        return () if self.topic_classifier is None else self.topic_classifier.labels

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        home: Home,
        threads: int | None = None,
        device: Device | None = None,
        opened: OpenEncoders | None = None,
        name: str = "",
    ) -> "Labeller":
        """Read a model folder. device: by default that of the settings. opened: encoders that this
        process shares. name: as shown with alerts, such as news@3.

        Raises ModelError when a file is missing or broken, or the base encoder is another one;
        SettingsError when the device asked for is not there, or cannot serve this model.
        """
        config = read_config(folder)
        encoders = open_model_encoders(
            folder, config, cache=home.cache, threads=threads, opened=opened,
            device=wanted_device(device, os.environ),
        )  # fmt: skip

        def classifier(part: str) -> FusedClassifier:
            return FusedClassifier.load(
                folder / part, embedder=encoders.base, finetuned=encoders.finetuned
            )

        sentiment = classifier(SENTIMENT_FOLDER)
        topics = classifier(TOPICS_FOLDER) if config.topics else None
        kept = {
            part: Precedents.load(folder / part, head)
            for part, head in ((SENTIMENT_FOLDER, sentiment), (TOPICS_FOLDER, topics))
            if head is not None
        }
        return cls(
            config,
            sentiment,
            topics,
            name=name or folder.name,
            fingerprint=folder_fingerprint(folder),
            precedents={part: found for part, found in kept.items() if found is not None},
        )

    def label(self, texts: Sequence[str]) -> list[Labels]:
        """One for each text, in order."""
        if not texts:
            return []
        plain = [headline(text) for text in texts]
        return self._labels(*self._probabilities(plain, self._base_features(plain)))

    def label_with_vectors(self, texts: Sequence[str]) -> tuple[list[Labels], NDArray[np.float32]]:
        """One for each text, in order, and (n, dim) vectors of unit length of the base encoder."""
        dim = self.sentiment.embedder.dim
        if not texts:
            return [], np.zeros((0, dim), dtype=np.float32)
        plain = [headline(text) for text in texts]
        features = self.sentiment.embedder.features(plain)
        labels = self._labels(*self._probabilities(plain, features))
        return labels, unit_length(features[:, :dim])

    def _labels(
        self, sentiment: NDArray[np.float32], topics: NDArray[np.float32] | None
    ) -> list[Labels]:
        """From (n, sentiments) and (n, topics)."""
        scores = np.zeros((len(sentiment), len(SENTIMENTS)))
        for column, label in enumerate(SENTIMENTS):
            if label in self.sentiment.labels:
                scores[:, column] = sentiment[:, self.sentiment.labels.index(label)]
        given = None
        if self.topic_classifier is not None and topics is not None:
            given = self.topic_classifier.decide(topics)
        names = self.topics
        return [
            Labels(
                sentiment=SENTIMENTS[int(scores[row].argmax())],
                p_negative=float(scores[row, 0]),
                p_neutral=float(scores[row, 1]),
                p_positive=float(scores[row, 2]),
                negative=bool(scores[row, 0] >= self.config.negative_threshold),
                topics=()
                if given is None
                else tuple(name for name, yes in zip(names, given[row], strict=True) if yes),
                topic_scores={}
                if topics is None
                else {n: float(p) for n, p in zip(names, topics[row], strict=True)},
            )
            for row in range(len(sentiment))
        ]

    def words_for_negative(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """See LabelTexts. By occlusion: about ten encodings for a headline."""
        if NEGATIVE not in self.sentiment.labels:
            return [() for _ in texts]
        return [
            explain(self.sentiment, headline(text), label=NEGATIVE, method="occlusion").strongest()
            for text in texts
        ]

    def predict_frame(self, texts: Sequence[str]) -> pd.DataFrame:
        """The columns of `triptych predict news`, one row for each text, in order."""
        rows = [
            (
                text,
                label.sentiment,
                label.p_negative,
                label.p_neutral,
                label.p_positive,
                "|".join(label.topics),
                json.dumps(
                    {n: round(p, 6) for n, p in label.topic_scores.items()}, ensure_ascii=False
                ),
            )
            for text, label in zip(texts, self.label(texts), strict=True)
        ]
        return pd.DataFrame(rows, columns=list(PREDICTION_COLUMNS))

    def _probabilities(
        self, texts: Sequence[str], features: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """(n, sentiments), (n, topics) of texts and what the base encoder makes of them, if it is
        asked: each encoder sees the texts once, both heads share it."""
        tuned = self._finetuned_features(texts)
        sentiment = self.sentiment.predict_proba(texts, features=features, finetuned_features=tuned)
        if self.topic_classifier is None:
            return sentiment, None
        topics = self.topic_classifier.predict_proba(
            texts, features=features, finetuned_features=tuned
        )
        return sentiment, topics

    @property
    def _heads(self) -> list[FusedClassifier]:
        return [head for head in (self.sentiment, self.topic_classifier) if head is not None]

    def _base_features(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """Of the base encoder, if one of the heads asks it."""
        asked = any(head.asks_base for head in self._heads)
        return self.sentiment.embedder.features(texts) if asked else None

    def _finetuned_features(self, texts: Sequence[str]) -> NDArray[np.float32] | None:
        """Of the fine-tuned encoder, which is one for both heads, if one of them uses it."""
        encoders = [head.finetuned for head in self._heads if head.finetuned]
        return encoders[0].features(texts) if encoders else None


def read_config(folder: Path) -> LabellerConfig:
    """Raises ModelError when news.json is missing or has other fields."""
    path = folder / CONFIG_FILE
    try:
        return LabellerConfig(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not a readable news model ({error})") from error


def write_config(folder: Path, config: LabellerConfig) -> None:
    text = json.dumps(asdict(config), indent=2) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def folder_fingerprint(folder: Path) -> str:
    """sha256 over the files that decide the labels."""
    digest = hashlib.sha256()
    chosen = [CONFIG_FILE, SENTIMENT_FOLDER, TOPICS_FOLDER]
    files = [p for name in chosen for p in (folder / name, *sorted((folder / name).rglob("*")))]
    for path in files:
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
