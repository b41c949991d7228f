"""A bot taken from another tool: what was found, and the folder that training takes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment

from apps.chatbot.answers import AnswerBook, slots_in, write_answers
from apps.chatbot.formats.kept import ENTITIES_FILE, Kept, write_kept
from apps.chatbot.mining.import_report import ANSWERS_FILE, EXAMPLES_FILE, REPORT_FILE
from apps.chatbot.page_style import STYLE
from shared.atomic import write_text
from shared.errors import DataError
from shared.tables import write_table

OUT_OF_SCOPE_FILE = "out_of_scope.csv"
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Import of a bot</title>
<style>{{ style }}</style></head><body>
<h1>Import of a {{ bot.tool }} bot</h1>
<p>{{ source }}: {{ bot.words }}.</p>
<ul>{% for note in bot.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% if bot.unanswered %}
<h2>Intents without an answer</h2>
<p>What is said to them depends on a story, a form or an action; the bot passes on to a person.</p>
<ul>{% for label in bot.unanswered %}<li>{{ label }}</li>{% endfor %}</ul>
{% endif %}
{% if slots %}
<h2>Slots of the answers</h2>
<p>The bot asks for those that it does not find in what the customer says.</p>
<ul>{% for name, count in slots %}<li>{{ name }}: {{ count }} answers</li>{% endfor %}</ul>
{% endif %}
<h2>Examples of each intent</h2>
<ul>{% for label, count in counts %}<li>{{ label }}: {{ count }}</li>{% endfor %}</ul>
</body></html>
"""


@dataclass(frozen=True)
class TakenBot:
    """tool: that it comes from. texts, labels: the examples; files: where they stand. kept: what
    the chatbot does not learn from. refused: examples of what is not to be answered. unanswered:
    intents without an answer. notes: what was not taken, or taken otherwise."""

    tool: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    files: tuple[str, ...]
    book: AnswerBook
    kept: Kept = field(default_factory=Kept)
    refused: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    output: str = ""

    @property
    def words(self) -> str:
        return (
            f"{len(self.texts):,} examples of {len(set(self.labels)):,} intents, "
            f"{len(self.book.answers):,} answers; {len(self.unanswered):,} intents without an "
            f"answer"
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "examples": len(self.texts),
            "intents": sorted(set(self.labels)),
            "answers": [answer.label for answer in self.book.answers],
            "unanswered": list(self.unanswered),
            "out_of_scope": len(self.refused),
            "notes": list(self.notes),
            "output": self.output,
        }


def write_taken(bot: TakenBot, output: Path, source: Path) -> TakenBot:
    """Write examples, answers, entities, texts to be refused and a report into a folder.

    Raises: DataError when a file cannot be written.
    """
    columns: dict[str, Sequence[str]] = {"text": bot.texts, "label": bot.labels, "file": bot.files}
    if bot.kept.entities:
        columns["entities"] = bot.kept.entities
    try:
        (output / REPORT_FILE).unlink(missing_ok=True)
        write_table(pd.DataFrame(columns), output / EXAMPLES_FILE)
        write_answers(bot.book, output / ANSWERS_FILE)
        write_kept(bot.kept, output / ENTITIES_FILE)
        if bot.refused:
            write_table(pd.DataFrame({"text": bot.refused}), output / OUT_OF_SCOPE_FILE)
        write_text(output / REPORT_FILE, _page(bot, source))
    except OSError as error:
        raise DataError(f"{output}: cannot be written: {error.strerror or error}") from None
    return replace(bot, output=str(output))


def _page(bot: TakenBot, source: Path) -> str:
    """What was found, as a page; every value is escaped."""
    slots = Counter(
        name
        for answer in bot.book.answers
        for name in {n for texts in answer.texts.values() for t in texts for n in slots_in(t)}
    )
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(_PAGE)
        .render(
            bot=bot, source=str(source), style=STYLE, slots=slots.most_common(),
            counts=Counter(bot.labels).most_common(),
        )
    )  # fmt: skip
