"""A verdict of the promotion gate as one self-contained page: no script, every text escaped."""

from collections.abc import Sequence

from jinja2 import Environment

from shared.evaluation.gate import GateLimits, Verdict
from shared.evaluation.outcomes import Change

CHANGES_SHOWN = 200

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem }
table { border-collapse: collapse; width: 100% } .soft { color: #5b6675 }
td, th { padding: .3rem .6rem; border-bottom: 1px solid #dde2e9; text-align: left;
  vertical-align: top; overflow-wrap: anywhere }
th { color: #5b6675; font-size: .85rem } td.status { white-space: nowrap }
.failed { color: #b3362b; font-weight: 600 } .undecided { color: #8a6100 }
.passed { color: #1f7a3d }
summary { cursor: pointer; color: #1f5fbf; padding: .4rem 0 }
</style></head><body>
<h1>{{ title }}</h1>
<p class="{{ 'passed' if verdict.passed else 'failed' }}">
{{ "May go live." if verdict.passed else "Must not go live." }}</p>
{% for note in notes %}<p class="soft">{{ note }}</p>{% endfor %}
{% macro rows(checks) %}<table><tr><th></th><th>what</th><th>why</th></tr>
{% for check in checks %}<tr><td class="status {{ check.status }}">{{ check.status }}</td>
<td>{{ check.name }}</td><td>{{ check.reason }}</td></tr>{% endfor %}</table>{% endmacro %}
<h2>What was checked</h2>
{{ rows(first) }}
{% if rest %}<details><summary>{{ rest|length }} slices and labels without a failure</summary>
{{ rows(rest) }}</details>{% endif %}
<p class="soft">An equal candidate would be blocked by its scores in at most
{{ "%.0f"|format(100 * limits.error) }} of 100 comparisons: exact paired tests, one-sided, corrected
by Holm's method. Undecided: with so few rows a loss of {{ "%.0f"|format(100 * limits.margin) }}
points (on a slice or label {{ "%.0f"|format(100 * limits.part_margin) }}) cannot be ruled out.</p>
{% if cases %}<h2>Must-pass cases: {{ cases|length }}</h2>
<table><tr><th></th><th>asked</th><th>expected</th><th>given</th><th>from</th></tr>
{% for case in cases[:shown] %}<tr><td class="status {{ 'passed' if case.passed else 'failed' }}">
{{ "passed" if case.passed else "failed" }}</td><td>{{ case.asked }}</td>
<td>{{ case.expected }}</td><td>{{ case.given }}</td><td>{{ case.source }}</td></tr>
{% endfor %}</table>
{% if cases|length > shown %}<p class="soft">The first {{ shown }}; all are in verdict.json.</p>
{% endif %}{% endif %}
<h2>What would change: {{ "{:,}".format(changes|length) }} rows</h2>
{% if changes %}<table><tr><th>row</th><th>truth</th><th>production</th><th>candidate</th><th></th>
</tr>{% for change in changes[:shown] %}<tr><td>{{ change.row }}</td><td>{{ change.truth }}</td>
<td>{{ change.production }}</td><td>{{ change.candidate }}</td>
<td class="{{ 'passed' if change.better else 'failed' if change.better is false else 'soft' }}">
{{ "better" if change.better else "worse" if change.better is false else "" }}</td></tr>
{% endfor %}</table>
{% if changes|length > shown %}<p class="soft">The first {{ shown }}; all are in changes.csv.</p>
{% endif %}{% endif %}
</body></html>
"""


def render_verdict(
    title: str,
    verdict: Verdict,
    limits: GateLimits,
    changes: Sequence[Change],
    notes: Sequence[str],
) -> str:
    """The page as HTML text; worse rows first."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    whole = [check for check in verdict.checks if not check.is_part or check.status == "failed"]
    return environment.from_string(_TEMPLATE).render(
        title=title,
        verdict=verdict,
        limits=limits,
        first=sorted(whole, key=lambda check: check.status != "failed"),
        rest=[check for check in verdict.checks if check not in whole],
        changes=sorted(changes, key=lambda change: {False: 0, True: 1, None: 2}[change.better]),
        cases=sorted(verdict.cases, key=lambda case: case.passed),
        notes=notes,
        shown=CHANGES_SHOWN,
    )
