"""How well news is labelled: by folds, by one model for all, on unseen sets.

Headlines are read as in training and in use; near duplicates, of all sets together, lie in one
fold, so that no row is judged by a model that has seen its copy. The rival learns from the same
rows.
"""

import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from apps.news_monitor.examples import sentiment_examples, topic_examples
from apps.news_monitor.labelling import headline
from apps.news_monitor.labels import SENTIMENTS
from pipelines.benchmark_core import FOLDS, SVM, svm
from pipelines.public_sets import all_there
from shared.evaluation.intervals import Interval, bootstrap, mean_of, paired_bootstrap
from shared.evaluation.metrics import macro_f1, one_hot, weighted_f1
from shared.inference.model_encoders import open_base_encoder
from shared.inference.remembered import RememberingEmbedder
from shared.inference.runtime import Embedder
from shared.pretrained import PretrainedEncoder, resolve
from shared.settings import Home
from shared.training.examples import Examples, folds, from_rows
from shared.training.head_data import HeadData, Learned
from shared.training.learning import learn
from shared.training.options import Method, TrainOptions

Say = Callable[[str], None]
Floats = NDArray[np.float32]
Answers = Mapping[str, tuple[Sequence[str], Floats]]
"""System -> labels, and their (n, C) probabilities or margins for n texts."""
PHRASEBANK, TWEETS, SENTFIN = "Financial PhraseBank 50Agree", "Twitter sentiment", "SEntFiN"
GOLD, FIQA, TOPICS = "gold headlines", "FiQA, sign", "Twitter topics"
PLACES = {
    PHRASEBANK: "finance/financial_phrasebank/50Agree_train.csv",
    TWEETS: "finance/twitter_fin_sentiment/train.csv",
    SENTFIN: "finance/sentfin/train.csv",
    GOLD: "finance/gold_news/train.csv.gz",
    FIQA: "finance/fiqa_sa/train.jsonl",
    TOPICS: "finance/twitter_fin_topic/train.csv",
}
LABELS_OF_TWEETS = {"0": "negative", "1": "positive", "2": "neutral"}
OWN, COMMON = "triptych", "triptych, one model for all sets"
ABOVE_OWN = "accuracy above its own model"
ABOVE_SVM = "accuracy above the SVM"
# Of a set without neutral rows, by systems that know them.
CALLED_NEUTRAL = "accuracy on what it calls neutral"
CALLED_OTHERWISE = "accuracy on what it calls bad or good"


@dataclass(frozen=True)
class LabelRow:
    """One figure of a system on a set."""

    data: str
    system: str
    measure: str
    found: Interval


@dataclass(frozen=True, eq=False)
class Sets:
    """What is there of the public sets, as they are trained on."""

    sentiment: Mapping[str, Examples]
    unseen: Mapping[str, Examples]
    topics: Examples | None


def benchmark_labels(
    folder: Path, *, home: Home, options: TrainOptions, say: Say
) -> Iterator[LabelRow]:
    """Every figure that the sets in `folder` allow; a missing set is skipped with a line."""
    learner = Learner.open(home, options, say)
    sets = read_sets(folder, home, say)
    if sets.sentiment:
        yield from _by_folds(sets.sentiment, learner)
    if sets.unseen and {PHRASEBANK, TWEETS} <= set(sets.sentiment):
        yield from _never_seen(sets, learner)
    if sets.topics is not None:
        yield from _topics(sets.topics, learner)


def read_sets(folder: Path, home: Home, say: Say) -> Sets:
    """The sets under `folder` that are there."""
    there = {name: folder / place for name, place in PLACES.items()}
    there = {name: path for name, path in there.items() if all_there([path], say)}

    def given(name: str) -> Examples:
        return sentiment_examples(
            [there[name]], mapping={}, spellings=LABELS_OF_TWEETS, home=home, say=say
        )

    read: dict[str, Callable[[], Examples]] = {
        PHRASEBANK: lambda: given(PHRASEBANK),
        TWEETS: lambda: given(TWEETS),
        SENTFIN: lambda: sentfin_headlines(there[SENTFIN]),
        GOLD: lambda: _gold(there[GOLD]),
        FIQA: lambda: _fiqa(there[FIQA]),
    }
    found = {name: make() for name, make in read.items() if name in there}
    topics = None
    if TOPICS in there:
        topics = topic_examples([there[TOPICS]], mapping={}, home=home, say=say)
    learnt = (PHRASEBANK, TWEETS, SENTFIN)
    return Sets(
        {name: rows for name, rows in found.items() if name in learnt},
        {name: rows for name, rows in found.items() if name not in learnt},
        topics,
    )


def sentfin_headlines(path: Path) -> Examples:
    """Headlines that say the same of every company they name."""
    rows = pd.read_csv(path, keep_default_na=False)
    said = rows.groupby("title", sort=False)["sentiment"].agg(["nunique", "first"])
    agreed = said[said["nunique"] == 1]["first"]
    return _labelled(zip(agreed.index, agreed, strict=True))


def _gold(path: Path) -> Examples:
    """Headlines about the price of gold with its direction; those about something else left out."""
    rows = pd.read_csv(path, keep_default_na=False)
    pairs = zip(rows["News"], rows["Price Sentiment"], strict=True)
    return _labelled((text, said) for text, said in pairs if said in SENTIMENTS)


def _fiqa(path: Path) -> Examples:
    """Every row with a score that is not 0: its sign."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    scored = ((row["sentence"], float(row["sentiment_score"])) for row in rows)
    return _labelled((t, "positive" if score > 0 else "negative") for t, score in scored if score)


def _labelled(pairs: Iterable[tuple[str, str]]) -> Examples:
    read = [(headline(str(text)), (label,)) for text, label in pairs]
    return from_rows([text for text, _ in read], [label for _, label in read], "single")


@dataclass(frozen=True, eq=False)
class Learner:
    """A fused classifier of any rows, and its answers to texts."""

    base: PretrainedEncoder
    embedder: Embedder
    options: TrainOptions
    say: Say

    @classmethod
    def open(cls, home: Home, options: TrainOptions, say: Say) -> "Learner":
        """With the base of the options, which reads each text once."""
        base = resolve(options.base, cache=home.cache)
        embedder = open_base_encoder(
            base, cache=home.cache, threads=options.threads, device=options.device
        )
        return cls(base, RememberingEmbedder(embedder), options, say)

    def learn(self, rows: Examples, folder: Path) -> Learned:
        """A classifier of `rows` as the head news. folder: of a fine-tuned encoder."""
        return learn(
            [HeadData("news", rows)],
            base=self.base,
            embedder=self.embedder,
            options=self.options,
            folder=folder,
            say=self._say_of_encoders,
        )

    def ask(self, rows: Examples, texts: Sequence[str]) -> tuple[Sequence[str], Floats]:
        """Labels, and their (n, C) probabilities for texts, by a classifier of `rows`."""
        with tempfile.TemporaryDirectory() as folder:
            classifier = self.learn(rows, Path(folder) / "encoder").classifier("news")
            return classifier.labels, classifier.predict_proba(texts)

    def _say_of_encoders(self, line: str) -> None:
        if self.options.method != Method.FROZEN:
            self.say(f"  {line}")

    def sentiment(self, rows: Examples, texts: Sequence[str]) -> Floats:
        """(n, 3) probabilities of SENTIMENTS."""
        labels, found = self.ask(rows, texts)
        return found[:, [labels.index(label) for label in SENTIMENTS]]


def svm_sentiment(rows: Examples, texts: Sequence[str]) -> Floats:
    """(n, 3) margins of SENTIMENTS."""
    return svm(rows, texts).scores[:, [rows.names.index(label) for label in SENTIMENTS]]


def _by_folds(sets: Mapping[str, Examples], learner: Learner) -> Iterator[LabelRow]:
    """Each set's own model, one of all sets, and the rival, each judged on rows of other folds."""
    whole, origin = pooled(sets.values()), origins(sets.values())
    systems = (OWN, COMMON, SVM) if len(sets) > 1 else (OWN, SVM)
    scores = {name: np.zeros((len(whole), 3), dtype=np.float32) for name in systems}
    for number, (train, held) in enumerate(folds(whole, FOLDS, learner.options.seed), start=1):
        if COMMON in scores:
            asked = whole.take(held).texts
            scores[COMMON][held] = learner.sentiment(whole.take(train), asked)
        for at in range(len(sets)):
            own, mine = whole.take(train[origin[train] == at]), held[origin[held] == at]
            asked = whole.take(mine).texts
            scores[OWN][mine] = learner.sentiment(own, asked)
            scores[SVM][mine] = svm_sentiment(own, asked)
        learner.say(f"sentiment: fold {number} of {FOLDS} done")
    truth = codes_of(whole)
    for at, name in enumerate(sets):
        rows = origin == at
        said = {system: found[rows].argmax(1) for system, found in scores.items()}
        for system, codes in said.items():
            yield from figures(f"{name}, {FOLDS} folds", system, truth[rows], codes)
        if COMMON in said:
            found = gain(said[COMMON] == truth[rows], said[OWN] == truth[rows])
            yield LabelRow(f"{name}, {FOLDS} folds", COMMON, ABOVE_OWN, found)


def _never_seen(sets: Sets, learner: Learner) -> Iterator[LabelRow]:
    """Taught by tweets and PhraseBank, asked of other sets; of FiQA only bad or good, and then
    taught by bad and good rows alone as well."""
    taught = taught_to_unseen(sets)
    asked = [text for held in sets.unseen.values() for text in held.texts]
    ours = per_set(learner.sentiment(taught, asked), sets.unseen.values())

    def ask(rows: Examples, texts: Sequence[str]) -> Answers:
        return {OWN: learner.ask(rows, texts)}

    for (name, held), scores in zip(sets.unseen.items(), ours, strict=True):
        yield from unseen_figures(name, held, {OWN: scores, SVM: svm_sentiment(taught, held.texts)})
        learner.say(f"{name}: {len(held)} rows asked")
        yield from own_label_figures(name, held, taught, ask)


def own_label_figures(
    name: str,
    held: Examples,
    taught: Examples,
    ask: Callable[[Examples, Sequence[str]], Answers],
) -> Iterator[LabelRow]:
    """Of a set that lacks a label of `taught`: of systems that learn from the rows of its own
    labels alone, beside an SVM of these rows and one of all. Nothing of any other set.

    ask: what each system answers to texts once it has learned from rows.
    """
    own = taught.take(np.flatnonzero([label in held.names for label in taught.single]))
    if len(own) == len(taught):
        return
    data, truth = f"{name}, never seen, taught its labels alone", codes_of(held)
    answers = {**ask(own, held.texts), SVM: (own.names, svm(own, held.texts).scores)}
    said = {
        system: np.array([SENTIMENTS.index(label) for label in labels])[scores.argmax(1)]
        for system, (labels, scores) in answers.items()
    }
    of_all = likeliest(held, svm_sentiment(taught, held.texts)) == truth
    for system, codes in said.items():
        yield from figures(data, system, truth, codes)
        right = codes == truth
        if system != SVM:
            yield LabelRow(data, system, ABOVE_SVM, gain(right, said[SVM] == truth))
            yield LabelRow(data, system, f"{ABOVE_SVM} of all rows", gain(right, of_all))


def taught_to_unseen(sets: Sets) -> Examples:
    """The rows that sets which were never seen are asked of."""
    return pooled([sets.sentiment[name] for name in (PHRASEBANK, TWEETS)])


def unseen_figures(name: str, held: Examples, answers: Mapping[str, Floats]) -> Iterator[LabelRow]:
    """Of each system, by its (n, 3) answers to a set; the SVM is one of them."""
    data, truth = f"{name}, never seen", codes_of(held)
    said = {system: likeliest(held, scores) for system, scores in answers.items()}
    for system, codes in said.items():
        yield from figures(data, system, truth, codes)
        if system != SVM:
            found = gain(codes == truth, said[SVM] == truth)
            yield LabelRow(data, system, ABOVE_SVM, found)
        neutral = answers[system].argmax(1) == SENTIMENTS.index("neutral")
        if "neutral" not in held.names and neutral.any() and not neutral.all():
            for measure, rows in ((CALLED_NEUTRAL, neutral), (CALLED_OTHERWISE, ~neutral)):
                right = np.where(rows, codes == truth, np.nan)
                yield LabelRow(data, system, measure, bootstrap(mean_of(right), len(right)))


def likeliest(held: Examples, scores: Floats) -> NDArray[np.int64]:
    """(n,) codes of SENTIMENTS, of those that the set has."""
    allowed = np.array([at for at, label in enumerate(SENTIMENTS) if label in held.names])
    found: NDArray[np.int64] = allowed[scores[:, allowed].argmax(1)]
    return found


def _topics(rows: Examples, learner: Learner) -> Iterator[LabelRow]:
    """The likeliest topic is one of the row's. Rows of a topic with one group are never asked."""
    ours, theirs = (np.full(len(rows), np.nan) for _ in range(2))
    for number, (train, held) in enumerate(folds(rows, FOLDS, learner.options.seed), start=1):
        part, texts = rows.take(train), [rows.texts[row] for row in held]
        ours[held] = hits_of(rows.take(held), *learner.ask(part, texts))
        if rows.kind == "single":
            theirs[held] = hits_of(rows.take(held), part.names, svm(part, texts).scores)
        learner.say(f"topics: fold {number} of {FOLDS} done")
    for system, hits in ((OWN, ours), (SVM, theirs)):
        known = hits[~np.isnan(hits)]
        if len(known):
            found = bootstrap(mean_of(known), len(known))
            yield LabelRow(f"{TOPICS}, {FOLDS} folds", system, "accuracy", found)


def pooled(sets: Iterable[Examples]) -> Examples:
    """All rows of the sets, one after the other."""
    rows = [(text, own) for part in sets for text, own in zip(part.texts, part.labels, strict=True)]
    return from_rows([text for text, _ in rows], [own for _, own in rows], "single")


def origins(sets: Collection[Examples]) -> NDArray[np.int64]:
    """(n,) the number of the set that each pooled row is of."""
    return np.repeat(np.arange(len(sets)), [len(rows) for rows in sets])


def per_set(scores: Floats, sets: Iterable[Examples]) -> list[Floats]:
    """(n, C) answers to the pooled rows, by the set."""
    return np.split(scores, np.cumsum([len(rows) for rows in sets])[:-1])


def codes_of(rows: Examples) -> NDArray[np.int64]:
    """(n,) the labels as numbers of SENTIMENTS."""
    return np.array([SENTIMENTS.index(label) for label in rows.single])


def gain(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Interval:
    """How much oftener ours is right, paired by row."""
    found = paired_bootstrap(mean_of(ours), mean_of(theirs), len(ours))
    return Interval(found.value, found.low, found.high)


def hits_of(rows: Examples, names: Sequence[str], scores: Floats) -> NDArray[np.float64]:
    """(n,) 1 where the likeliest of the names is one of the row's."""
    said = [names[at] for at in scores.argmax(1)]
    return np.array([name in own for name, own in zip(said, rows.labels, strict=True)], np.float64)


def figures(
    data: str, system: str, truth: NDArray[np.int64], said: NDArray[np.int64]
) -> Iterator[LabelRow]:
    """Of what was said of the rows of a set. truth, said: codes of SENTIMENTS."""
    actual, claimed = one_hot(truth, len(SENTIMENTS)), one_hot(said, len(SENTIMENTS))
    bad = truth == SENTIMENTS.index("negative")
    found = {
        "accuracy": bootstrap(mean_of(said == truth), len(truth)),
        "macro F1": bootstrap(lambda w: macro_f1(actual, claimed, w), len(truth)),
        "weighted F1": bootstrap(lambda w: weighted_f1(actual, claimed, w), len(truth)),
        "negative recall": bootstrap(mean_of(np.where(bad, said == truth, np.nan)), len(truth)),
    }
    for measure, interval in found.items():
        yield LabelRow(data, system, measure, interval)
