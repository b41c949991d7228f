"""`triptych explain`: why a released model says what it says of one text."""

from collections.abc import Iterator
from datetime import UTC, datetime

from shared.evaluation.explain import Explanation, explain
from shared.registry import Registry
from shared.settings import Home
from shared.text import normalise

BAR = 24  # characters of the longest bar


def explain_text(
    app: str, reference: str, text: str, *, label: str | None, home: Home, seed: int
) -> tuple[str, list[Explanation]]:
    """The model's name and version, and one explanation: of the intent, or of the sentiment; for
    news followed by one for every topic given. label: explain this one instead.

    Raises:
        ModelError: no such model. DataError: no such label.
    """
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(reference, app=app)
    name = f"{version.name}@{version.version}"
    if app == "chatbot":
        from apps.chatbot.bot import Bot

        classifier = Bot.load(version.path, home=home).classifier
        return name, [explain(classifier, normalise(text), label=label, seed=seed)]
    from apps.news_monitor.explaining import explain_headline
    from apps.news_monitor.labelling import Labeller

    return name, explain_headline(Labeller.load(version.path, home=home), text, label, seed)


def lines_of(explanation: Explanation) -> Iterator[str]:
    """The explanation for a terminal: a signed bar for each word, then the exact n-grams."""
    yield f"{explanation.label}, probability {explanation.probability:.2f}, because of"
    largest = max((abs(word.total) for word in explanation.words), default=0.0) or 1.0
    for word in explanation.words:
        bar = ("+" if word.total > 0 else "-") * round(BAR * abs(word.total) / largest)
        yield f"  {word.unit.text:<20} {word.total:+6.2f}  {bar}"
    parts = ", ".join(f"{name} {part:+.2f}" for name, part in explanation.scorers.items())
    yield f"In log-odds, against an empty text: {parts}."
    grams = ", ".join(f"{gram.gram!r} {gram.part:+.2f}" for gram in explanation.grams[:5])
    yield f"Heaviest n-grams (exact): {grams or 'none is known'}."
