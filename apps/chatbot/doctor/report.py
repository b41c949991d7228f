"""The findings as a page that needs no other file; every value is escaped."""

from collections.abc import Mapping

from jinja2 import Environment

from apps.chatbot.doctor.examination import Examination, command_for
from apps.chatbot.doctor.findings import Finding
from apps.chatbot.doctor.reading import Sources
from apps.chatbot.page_style import STYLE

SHOWN = 100  # of one kind; findings.json has all
ABOUT: Mapping[str, str] = {
    "contradiction": "One text under several intents: the bot is told that it is wrong whichever "
    "it says.",
    "near contradiction": "Nearly one text under several intents.",
    "misspelt label": "Labels that differ in case or spaces alone are two intents to a machine.",
    "unusable row": "Rows that were not read at all.",
    "overlap": "Intents whose examples a model that had not seen them takes for each other.",
    "wrong label": "By confident learning: a model that had not seen the row is surer of another "
    "intent than it is, in the mean, of that intent's own examples.",
    "leak": "Rows of one part that are copies of another part's.",
    "repeated example": "Rows that stand twice under one intent.",
    "thin intent": "Intents with few examples.",
    "no answer": "Intents to which nothing can be said.",
    "never asked": "Answers that no example asks for.",
    "unfilled slot": "Slots that only you can fill.",
    "unknown slot": "Slots that are not found in what customers write.",
    "mask": "Masks of personal data that customers would see.",
    "idle condition": "Conditions that nothing can satisfy.",
    "no fallback": "Answers that say nothing to some customer.",
    "unusable pattern": "Regular expressions of entities that cannot be matched.",
    "double value": "Values that stand in the lists of two entities.",
    "common value": "Values of lists that are common words of the examples.",
}
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What is wrong with this bot's data</title><style>{{ style }}</style></head><body>
<h1>What is wrong with this bot's data</h1>
<p>{{ found.words }}.</p>
{% for note in found.notes %}<p class="w">{{ note }}</p>{% endfor %}
{% if found.findings %}
<p>Fixes are carried out on copies: <code>{{ command }} --fix sure</code>, or name kinds and ids
below, or tick them on the page Data doctor of <code>triptych dashboard</code>.</p>
{% else %}<p>Nothing was found.</p>{% endif %}
{% for kind, several in kinds.items() %}
<h2>{{ kind }}: {{ several|length }}</h2><p class="m">{{ about[kind] }}</p>
<table><tr><th></th><th>what</th><th>where</th><th>fix</th></tr>
{% for each in several[:shown] %}
<tr><td class="{{ 'w' if each.severity == 'error' else 'm' }}">{{ each.severity }}<br>
<span class="m">{{ each.id }}</span></td><td>{{ each.what }}</td><td class="m">{{ each.where }}</td>
<td>{{ each.way_out }}{% if each.fix and each.fix.sure %} <span class="m">sure</span>{% endif %}
</td></tr>
{% endfor %}</table>
{% if several|length > shown %}<p class="m">And {{ several|length - shown }} more in
findings.json.</p>{% endif %}
{% endfor %}
</body></html>
"""


def doctor_page(found: Examination, sources: Sources) -> str:
    """One self-contained page: no script, no request."""
    kinds: dict[str, list[Finding]] = {}
    for each in found.findings:
        kinds.setdefault(each.kind, []).append(each)
    return (
        Environment(autoescape=True, trim_blocks=True)
        .from_string(_PAGE)
        .render(
            found=found, kinds=kinds, about=ABOUT, shown=SHOWN, style=STYLE,
            command=command_for(sources),
        )
    )  # fmt: skip
