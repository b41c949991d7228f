"""An audit as one self-contained page: no script, no request, every text escaped."""

from typing import TYPE_CHECKING

from jinja2 import Environment

if TYPE_CHECKING:
    from shared.evaluation.audit import AuditReport

AREAS = {
    "robustness": "Does the way it is written move it?",
    "bias": "Does it matter who is meant?",
    "function": "Does it know the simple cases?",
}

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.title }}</title>
<style>
:root { --ink: #1c2430; --soft: #5b6675; --line: #dde2e9; --mark: #1f5fbf; --bad: #b3362b; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 64rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem }
p { margin: .3rem 0 } .soft { color: var(--soft) }
table { border-collapse: collapse; width: 100% } td, th { padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
th { font-weight: 600; color: var(--soft); font-size: .85rem }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { display: inline-block; height: .7rem; background: var(--bad); border-radius: 2px;
  vertical-align: middle }
summary { cursor: pointer; color: var(--mark) } .failed { color: var(--bad) }
details table { margin: .3rem 0 .8rem; background: #f7f8fa }
</style></head><body>
<h1>{{ report.title }}</h1>
<p class="soft">{{ report.app }} · model {{ report.model }}</p>
<p>Tested on {{ report.data }}.</p>
{% if report.notes %}<ul>{% for note in report.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% endif %}
{% for area, question in areas.items() %}
{% set rows = report.results | selectattr("area", "equalto", area) | list %}
{% if rows %}
<h2>{{ question }}</h2>
<table><tr><th>test</th><th>what must hold</th><th class="n">rows</th>
<th class="n">fail</th><th></th>
<th class="n">mean shift</th><th class="n">right before</th><th class="n">right after</th></tr>
{% for r in rows %}
<tr><td>{{ r.name }}</td><td>{{ r.expects }}</td><td class="n">{{ r.rows }}</td>
{% if r.rate is none %}<td class="n soft" colspan="5">nothing to change in these rows</td>
{% else %}
<td class="n">{{ r.rate.value|percent }}<br>
<span class="soft">{{ r.rate.low|percent }}–{{ r.rate.high|percent }}</span></td>
<td><span class="bar" style="width:{{ (60 * r.rate.value)|round(1) }}px"></span></td>
<td class="n">{{ r.mean_shift|figure }}</td>
<td class="n">{{ r.right_before|percent }}</td><td class="n">{{ r.right_after|percent }}</td>
{% endif %}</tr>
{% if r.worst %}<tr><td colspan="8"><details><summary>Worst cases</summary>
<table><tr><th>before</th><th>after</th><th>said</th><th>then</th><th class="n">shift</th></tr>
{% for case in r.worst %}<tr{% if case.failed %} class="failed"{% endif %}>
<td>{{ case.before }}</td><td>{{ case.after }}</td>
<td>{{ case.said_before }}</td><td>{{ case.said_after }}</td>
<td class="n">{{ case.shift|signed }}</td></tr>
{% endfor %}</table></details></td></tr>{% endif %}
{% endfor %}</table>
{% endif %}{% endfor %}
<p class="soft">The range under a share is where it would lie in 95 of 100 repetitions with other
rows of the same kind. Shift: how far the probability of the first prediction moved.</p>
</body></html>
"""


def render(report: "AuditReport") -> str:
    """The whole page."""
    environment = Environment(autoescape=True)
    environment.filters["percent"] = _percent
    environment.filters["figure"] = lambda value: f"{value:.3f}"
    environment.filters["signed"] = lambda value: f"{value:+.2f}"
    return environment.from_string(_TEMPLATE).render(report=report, areas=AREAS)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
