"""`triptych explain`: why a released model says what it says of one text, or lists one item."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.evaluation.explain import Explanation, WordPart
from shared.inference.precedents import Precedent
from shared.registry import Registry
from shared.settings import Home

if TYPE_CHECKING:
    from apps.recommender.word_reasons import WordReasons

BAR = 24  # characters of the longest bar
# What the texts are that a head was trained on.
TEXTS = {
    "intent": "questions",
    "sentiment": "headlines for the sentiment",
    "topics": "headlines for the topics",
}


@dataclass(frozen=True)
class Explained:
    """model: name@version. precedents: head -> the training texts nearest to this one, where the
    model keeps them. note: what to do where it does not."""

    model: str
    explanations: tuple[Explanation, ...]
    precedents: Mapping[str, tuple[Precedent, ...]] = field(default_factory=dict)
    note: str = ""

    @property
    def lines(self) -> Iterator[str]:
        """Everything, for a terminal."""
        for each in self.explanations:
            yield from lines_of(each)
        for head, found in self.precedents.items():
            yield f"Nearest training {TEXTS[head]}, by similarity:"
            yield from (f"  {p.similarity:.2f}  {p.in_words}: {p.text}" for p in found)
        if self.note:
            yield self.note


@dataclass(frozen=True)
class ItemExplained:
    """model: name@version."""

    model: str
    reasons: "WordReasons"

    @property
    def lines(self) -> Iterator[str]:
        """Everything, for a terminal."""
        why = self.reasons
        yield f"{why.item_id} for {why.user_id}: {why.total:+.2f} against the mean candidate"
        yield from bars_of(why.words)
        for name, part in why.channels.items():
            read = (
                f", {why.written[name]:+.2f} lost without the text" if name in why.written else ""
            )
            yield f"{name} {part:+.2f}{read}"
        if why.kind == "trees":
            yield "The list is ordered by trees, which read more than the sum of these."


def explain_text(
    app: str, reference: str, text: str, *, label: str | None, home: Home, seed: int
) -> Explained:
    """Of the intent; of the sentiment and every topic given. label: explain this one instead.

    Raises:
        ModelError: no such model. DataError: no such label.
    """
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(reference, app=app)
    name = f"{version.name}@{version.version}"
    if app == "chatbot":
        from apps.chatbot.bot import Bot
        from apps.chatbot.explaining import explain_message

        why = explain_message(Bot.load(version.path, home=home), text, label, seed)
        behind = {"intent": why.precedents} if why.precedents else {}
        return Explained(name, (why.explanation,), behind)
    from apps.news_monitor.explaining import NONE_KEPT, explain_headline
    from apps.news_monitor.labelling import Labeller

    found = explain_headline(Labeller.load(version.path, home=home), text, label, seed)
    return Explained(
        name,
        tuple(each for head in found for each in head.explanations),
        {head.head: head.precedents for head in found if head.precedents},
        "" if all(head.precedents for head in found) else NONE_KEPT,
    )


def explain_item(reference: str, user: str, item: str, *, home: Home) -> ItemExplained:
    """What each word of an item's text did for its score with a user.

    Raises:
        ModelError: no such model, or its encoder is gone. DataError: see word_reasons.
    """
    from apps.recommender.auditing import open_encoder
    from apps.recommender.live import open_live
    from apps.recommender.word_reasons import word_reasons

    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(reference, app="recommender")
    recommender = open_live(version.path, home=home).current()
    embedder = open_encoder(recommender.bundle.encoder, version.path, home)
    found = word_reasons(recommender, embedder, user, item)
    return ItemExplained(f"{version.name}@{version.version}", found)


def bars_of(words: Sequence[WordPart]) -> Iterator[str]:
    """A signed bar for each word, the longest for the strongest."""
    largest = max((abs(word.total) for word in words), default=0.0) or 1.0
    for word in words:
        bar = ("+" if word.total > 0 else "-") * round(BAR * abs(word.total) / largest)
        yield f"  {word.unit.text:<20} {word.total:+6.2f}  {bar}"


def lines_of(explanation: Explanation) -> Iterator[str]:
    """The explanation for a terminal: a signed bar for each word, then the exact n-grams."""
    yield f"{explanation.label}, probability {explanation.probability:.2f}, because of"
    yield from bars_of(explanation.words)
    parts = ", ".join(f"{name} {part:+.2f}" for name, part in explanation.scorers.items())
    yield f"In log-odds, against an empty text: {parts}."
    grams = ", ".join(f"{gram.gram!r} {gram.part:+.2f}" for gram in explanation.grams[:5])
    yield f"Heaviest n-grams (exact): {grams or 'none is known'}."
