"""An explained text as HTML: each word shaded by what it did; every character escaped."""

from collections.abc import Sequence
from html import escape
from typing import Protocol

from shared.evaluation.explain import WordPart

FOR, AGAINST = "31, 122, 77", "179, 54, 43"  # red, green, blue
DARKEST = 0.55
FAINTEST = 0.04  # below this share of the strongest word nothing is shaded


class Explained(Protocol):
    """A text, and its words in order with what each did."""

    @property
    def text(self) -> str: ...
    @property
    def words(self) -> Sequence[WordPart]: ...


def marked_html(explanation: Explained) -> str:
    """A paragraph: green words speak for what is explained, red ones against it, and the stronger
    the darker. Its part, such as log-odds, is each word's tooltip."""
    strongest = max((abs(word.total) for word in explanation.words), default=0.0) or 1.0
    pieces, at = [], 0
    for word in explanation.words:
        pieces.append(escape(explanation.text[at : word.unit.start]))
        share = abs(word.total) / strongest
        shown = escape(word.unit.text)
        if share >= FAINTEST:
            colour = FOR if word.total > 0 else AGAINST
            shown = (
                f'<span title="{word.total:+.2f}" style="background:rgba({colour}, '
                f'{DARKEST * share:.2f});border-radius:3px;padding:1px 2px">{shown}</span>'
            )
        pieces.append(shown)
        at = word.unit.end
    pieces.append(escape(explanation.text[at:]))
    return f'<p style="line-height:1.9;margin:0">{"".join(pieces)}</p>'
