"""The page that says what an import of dialogues found, in plain words; every value is escaped."""

from typing import TYPE_CHECKING

from jinja2 import Environment

from apps.chatbot.page_style import STYLE

if TYPE_CHECKING:
    from apps.chatbot.mining.dialogue_import import Imported
    from apps.chatbot.mining.drafts import Draft

EXAMPLES_FILE = "examples.csv"
ANSWERS_FILE = "answers.yml"
REPORT_FILE = "report.html"
SHOWN = 40  # intents with examples
SHOWN_QUESTIONS = 4
# Pairs of an intent less sure than this in the mean, or less alike, want a person's look first.
DOUBTFUL_CONFIDENCE = 0.45
DOUBTFUL_TIGHTNESS = 0.6

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Import of dialogues</title>
<style>{{ style }}</style></head><body>
<h1>Import of dialogues</h1>
<p>{{ found.words }}.</p>
<table>
{% for name, kind in found.files %}<tr><td>{{ name }}</td><td>read as {{ kind }}</td></tr>
{% endfor %}</table>
<p>Next: <code>triptych train chatbot --examples {{ found.output }}/{{ examples }} --answers
{{ found.output }}/{{ answers }} --name NAME</code></p>
{% for note in found.notes %}<p class="w">{{ note }}</p>{% endfor %}
<h2>What was not used</h2>
{% if found.dropped or found.rejected %}
<table>
{% for reason, count in dropped %}<tr><td>{{ count }} requests</td><td>{{ reason }}</td></tr>
{% endfor %}
{% for reason, count in rejected %}<tr><td>{{ count }} rows</td><td>{{ reason }}</td></tr>
{% endfor %}</table>
<p class="m">Each with file, line and reason in rejects.csv.</p>
{% else %}<p>Everything was used.</p>{% endif %}
{% if found.boilerplate %}
<p>Agents say these whatever was asked, so they are no part of an answer:</p>
<ul>{% for text, count in boilerplate %}
<li>{{ text }} <span class="m">{{ count }} dialogues</span></li>
{% endfor %}</ul>{% endif %}
{% if doubtful %}
<h2>Look at these first</h2>
<table>{% for draft, why in doubtful %}<tr><td>{{ draft.label }}</td><td>{{ why }}</td></tr>
{% endfor %}</table>{% endif %}
<h2>Drafted intents{% if shown|length < found.drafts|length %}, the {{ shown|length }} largest of
{{ found.drafts|length }}{% endif %}</h2>
<p class="m">Names and titles are drafts: change them in {{ examples }} and {{ answers }}. Slots
that begin with our_ hold what only you know; where an answer cannot do without one, the bot passes
on to a person.</p>
{% for draft in shown %}
<div class="intent"><b>{{ draft.label }}</b> &middot; {{ draft.title }}
<div class="m">{{ draft.cluster.pairs|length }} times asked, {{ draft.questions|length }} examples,
confidence {{ '%.2f'|format(draft.confidence) }}</div>
{% for question in draft.questions[:questions] %}
<div class="q">&ldquo;{{ question }}&rdquo;</div>{% endfor %}
{% for template in draft.templates %}<div class="a">{{ template.text }}
<span class="m">{{ template.count }} times</span></div>{% endfor %}
<div class="m">from {{ draft.cluster.pairs[0].file }}, dialogue
{{ draft.cluster.pairs[0].dialogue }}{% if draft.cluster.pairs|length > 1 %} and
others{% endif %}</div></div>
{% endfor %}
</body></html>
"""


def import_page(found: "Imported") -> str:
    """The report as a page that needs no other file."""
    page = Environment(autoescape=True, trim_blocks=True).from_string(_PAGE)
    return page.render(
        found=found,
        examples=EXAMPLES_FILE,
        answers=ANSWERS_FILE,
        dropped=_most(found.dropped),
        rejected=_most(found.rejected),
        boilerplate=_most(found.boilerplate)[:15],
        doubtful=[(draft, why) for draft in found.drafts if (why := doubt(draft))][:SHOWN],
        shown=found.drafts[:SHOWN],
        questions=SHOWN_QUESTIONS,
        style=STYLE,
    )


def doubt(draft: "Draft") -> str:
    """Why a person should look at a draft before others, "" where nothing says so."""
    reasons = []
    needs = draft.templates[0].needs if draft.templates else ()
    if needs:
        reasons.append(
            f"the answer needs what only you know ({', '.join(needs)}): the bot passes on"
        )
    if any(template.reports for template in draft.templates[:1]):
        reasons.append("the answer says that something was done; the bot does nothing of itself")
    if draft.confidence < DOUBTFUL_CONFIDENCE:
        reasons.append(f"the pairs are unsure (confidence {draft.confidence:.2f})")
    if draft.cluster.tightness < DOUBTFUL_TIGHTNESS:
        reasons.append("the questions and answers in it differ much; it may be two intents")
    return "; ".join(reasons)


def _most(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))
