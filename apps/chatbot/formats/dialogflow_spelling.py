"""Templates as Dialogflow ES spells them: `$order_id` a slot, a variant for an optional part."""

import re
from collections.abc import Sequence

from apps.chatbot.conditions import template_of
from apps.chatbot.formats.templates import SLOT, longest, shortest

# What our export adds to an agent: names, titles and templates as they were.
MARKS_FILE = "triptych.json"
# `$name`, `$name.original`, `#context.name`.
PARAMETER = re.compile(
    r"(?:\$|#[A-Za-z_][\w-]{0,80}\.)([A-Za-z_][\w-]{0,60})(?:\.(?:original|partial|recent))?"
)


def messages_of(templates: Sequence[str]) -> tuple[str, ...]:
    """What an agent says for these variants, whatever their conditions: of one with optional parts
    the whole and the shortened text, for Dialogflow says nothing whose parameters are empty."""
    plain = map(template_of, templates)
    said = (form for template in plain for form in (longest(template), shortest(template)))
    return tuple(dict.fromkeys(SLOT.sub(r"$\1", text).strip() for text in said))
