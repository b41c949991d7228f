"""`triptych explain`: why a released model says what it says of one text, or lists one item."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shared.evaluation.explain import Explanation, WordPart
from shared.registry import Registry
from shared.settings import Home

if TYPE_CHECKING:
    from apps.recommender.word_reasons import WordReasons

BAR = 24  # characters of the longest bar


@dataclass(frozen=True)
class Explained:
    """model: name@version. precedents: lines on the training questions nearest to a chatbot's
    message, where the model keeps them."""

    model: str
    explanations: tuple[Explanation, ...]
    precedents: tuple[str, ...] = ()

    @property
    def lines(self) -> Iterator[str]:
        """Everything, for a terminal."""
        for each in self.explanations:
            yield from lines_of(each)
        if self.precedents:
            yield "Nearest training questions, by similarity:"
        yield from (f"  {line}" for line in self.precedents)


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
        behind = tuple(f"{p.similarity:.2f}  {p.label}: {p.text}" for p in why.precedents)
        return Explained(name, (why.explanation,), behind)
    from apps.news_monitor.explaining import explain_headline
    from apps.news_monitor.labelling import Labeller

    found = explain_headline(Labeller.load(version.path, home=home), text, label, seed)
    return Explained(name, tuple(found))


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
