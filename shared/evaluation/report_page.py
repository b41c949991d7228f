"""A report as one self-contained page: no script, no request, every text escaped."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jinja2 import Environment
from markupsafe import Markup

if TYPE_CHECKING:
    from shared.evaluation.report import CalibrationBin, Measure, Report

WORST_LABELS = 40  # labels in the open part of the table; the rest is folded away
SIDE_BY_SIDE_ROWS = 40  # of a table of two models; report.json has all
PLOT = 280  # width and height of the calibration plot, pixels
MARGIN = 56

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.title }}</title>
<style>
:root { --ink: #1c2430; --soft: #5b6675; --line: #dde2e9; --mark: #1f5fbf; --bad: #b3362b; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem }
p { margin: .3rem 0 } .soft, small { color: var(--soft) }
table { border-collapse: collapse; width: 100% } td, th { padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { font-weight: 600; color: var(--soft); font-size: .85rem }
td.label { overflow-wrap: anywhere } th.wide { width: 50% }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
tr.ours td { font-weight: 600 } .low { color: var(--bad) }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0 }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem 1rem; min-width: 9rem }
.card b { display: block; font-size: 1.5rem } .card small { display: block }
ul { padding-left: 1.2rem; margin: .2rem 0 } .plot { display: flex; flex-wrap: wrap; gap: 1.5rem }
summary { cursor: pointer; color: var(--mark); padding: .4rem 0 }
q { quotes: "\\201c" "\\201d" } svg text { font: 11px system-ui, sans-serif; fill: var(--soft) }
</style></head><body>
<h1>{{ report.title }}</h1>
<p class="soft">{{ report.app }} · model {{ report.model }}</p>
<p>Measured on {{ report.data }}.</p>
<div class="cards">{% for m in report.measures %}
<div class="card"><small>{{ m.name }}</small><b>{{ m.value|figure }}</b>
<small>{{ m|interval }}</small><small>{{ m.n|whole }} rows</small></div>{% endfor %}
</div>
<p class="soft">The range under a figure is where it would lie in 95 of 100 repetitions with other
rows of the same kind.</p>
{% if report.baselines %}
<h2>Beside simpler ways</h2>
<table><tr><th></th>{% for name in compared %}<th class="n">{{ name }}</th>{% endfor %}</tr>
<tr class="ours"><td>this model</td>{% for name in compared %}
<td class="n">{{ report.measures|named(name) }}</td>{% endfor %}</tr>
{% for rival in report.baselines %}<tr><td>{{ rival.name }}</td>{% for name in compared %}
<td class="n">{{ rival.measures|named(name) }}</td>{% endfor %}</tr>{% endfor %}
</table>
<p class="soft">All on the same rows, in the same run.</p>
{% endif %}
{% if report.notes %}<h2>Worth knowing</h2>
<ul>{% for note in report.notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% for table in report.side_by_side %}
<h2>{{ table.title }}</h2>
{% if table.figures %}
<table><tr><th></th><th class="n">rows</th><th class="n">{{ table.before }}</th>
<th class="n">{{ table.after }}</th><th class="n">difference, 95 %</th><th>beyond noise</th></tr>
{% for row in table.figures[:most] %}<tr><td class="label">{{ row.part }}</td>
<td class="n">{{ row.n|whole }}</td><td class="n">{{ row.before|figure }}</td>
<td class="n{% if row.worse <= 0.05 %} low{% endif %}">{{ row.after|figure }}</td>
<td class="n">{{ "%+.3f"|format(row.low) }} to {{ "%+.3f"|format(row.high) }}</td>
<td>{% if row.worse <= 0.05 %}worse{% elif row.better <= 0.05 %}better{% else %}no{% endif %}</td>
</tr>{% endfor %}</table>
{% endif %}
<ul><li>{{ table.line }}</li>{% for note in table.notes %}<li>{{ note }}</li>{% endfor %}</ul>
{% endfor %}
{% if report.calibration %}
<h2>Can its confidence be believed?</h2>
<div class="plot">{{ plot }}<div>
<p>Each dot is a group of answers with about the same stated confidence.<br>
On the line, 80 % sure means right 80 times in 100.<br>
Below the line the model claims too much, above it too little.</p>
<table><tr><th class="n">says</th><th class="n">is right</th><th class="n">rows</th></tr>
{% for bin in report.calibration if bin.n %}<tr><td class="n">{{ bin.confidence|percent }}</td>
<td class="n">{{ bin.accuracy|percent }}</td><td class="n">{{ bin.n|whole }}</td></tr>
{% endfor %}</table></div></div>
{% endif %}
{% if report.confusions %}
<h2>What it mixes up</h2>
<table><tr><th>It is</th><th>taken for</th><th class="n">times</th>
<th class="wide">for example</th></tr>
{% for pair in report.confusions %}<tr><td class="label">{{ pair.true }}</td>
<td class="label">{{ pair.predicted }}</td>
<td class="n">{{ pair.count|whole }}</td><td>{% for text in pair.examples %}<q>{{ text }}</q>
{% if not loop.last %}<br>{% endif %}{% endfor %}</td></tr>{% endfor %}</table>
{% endif %}
{% if report.slices %}
<h2>On parts of the rows</h2>
<table><tr><th>part</th><th class="n">rows</th><th>figures</th></tr>
{% for part in report.slices %}<tr><td>{{ part.name }}</td><td class="n">{{ part.n|whole }}</td>
<td>{% for m in part.measures %}{{ m.name }} {{ m.value|figure }}
<span class="soft">{{ m|interval }}</span>{% if not loop.last %}<br>{% endif %}{% endfor %}</td>
</tr>{% endfor %}</table>
{% endif %}
{% macro label_rows(rows) %}
<table><tr><th>label</th><th class="n">rows</th><th class="n">precision</th>
<th class="n">recall</th><th class="n">F1</th></tr>
{% for row in rows %}<tr><td>{{ row.label }}</td><td class="n">{{ row.n|whole }}</td>
<td class="n">{{ row.precision|figure }}</td><td class="n">{{ row.recall|figure }}</td>
<td class="n{% if row.f1 is not none and row.f1 < 0.8 %} low{% endif %}">
{{ row.f1|figure }}{% if row.f1_low is not none %}
<span class="soft">{{ "%.2f to %.2f"|format(row.f1_low, row.f1_high) }}</span>{% endif %}
</td></tr>{% endfor %}</table>
{% endmacro %}
{% if labels %}
<h2>Label by label, the weakest first</h2>
<p class="soft">Precision: how often it is right when it says so. Recall: how many of them it
finds. F1 joins the two.{% if unmeasured %} Not measured, for want of a row:
{{ unmeasured|join(", ") }}.{% endif %}</p>
{{ label_rows(labels[:worst]) }}
{% if labels|length > worst %}<details><summary>{{ labels|length - worst }} more labels</summary>
{{ label_rows(labels[worst:]) }}</details>{% endif %}
{% endif %}
{% if report.seconds %}<h2>Time taken</h2>
<table>{% for step, value in report.seconds.items() %}<tr><td>{{ step }}</td>
<td class="n">{{ "%.1f"|format(value) }} s</td></tr>{% endfor %}</table>{% endif %}
</body></html>
"""


def render(report: "Report") -> str:
    """The page as HTML text."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "figure": _figure,
        "interval": _interval,
        "percent": lambda value: f"{100 * value:.0f} %",
        "whole": lambda value: f"{value:,}",
        "named": _named,
    }
    measured = [row for row in report.per_label if row.f1 is not None]
    rivals = [m.name for rival in report.baselines for m in rival.measures]
    return environment.from_string(_TEMPLATE).render(
        report=report,
        compared=list(dict.fromkeys(rivals)),
        labels=sorted(measured, key=lambda row: (row.f1 or 0.0, -row.n, row.label)),
        unmeasured=[row.label for row in report.per_label if row.f1 is None],
        worst=WORST_LABELS,
        most=SIDE_BY_SIDE_ROWS,
        plot=_calibration_plot(report.calibration),
    )


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(measure: "Measure") -> str:
    if measure.low is None or measure.high is None:
        return ""
    return f"{measure.low:.3f} to {measure.high:.3f}"


def _named(measures: Sequence["Measure"], name: str) -> Markup:
    """The figure of that name with its interval, or a dash."""
    for measure in measures:
        if measure.name == name:
            return Markup("{} <small>{}</small>").format(_figure(measure.value), _interval(measure))
    return Markup("–")


def _calibration_plot(bins: Sequence["CalibrationBin"]) -> Markup:
    """Stated confidence against the share right; the area of a dot is its share of the rows."""
    total = sum(bin.n for bin in bins) or 1

    def place(x: float, y: float) -> tuple[float, float]:
        return MARGIN + x * PLOT, MARGIN / 2 + (1 - y) * PLOT

    lines = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        (x, y), (left, bottom) = place(tick, tick), place(0, 0)
        lines.append(
            f'<line x1="{left}" y1="{y}" x2="{left + PLOT}" y2="{y}" stroke="#dde2e9"/>'
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{100 * tick:.0f} %</text>'
            f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{100 * tick:.0f} %</text>'
        )
    (x1, y1), (x2, y2) = place(0, 0), place(1, 1)
    lines.append(
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#5b6675" stroke-dasharray="4 4"/>'
    )
    for bin in bins:
        if bin.n:
            x, y = place(bin.confidence, bin.accuracy)
            radius = 3 + 17 * (bin.n / total) ** 0.5
            lines.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#1f5fbf" '
                f'fill-opacity="0.55"><title>{bin.n} rows: says {100 * bin.confidence:.1f} %, '
                f"is right {100 * bin.accuracy:.1f} %</title></circle>"
            )
    width, height = PLOT + MARGIN + 24, PLOT + MARGIN / 2 + 44
    lines.append(
        f'<text x="{MARGIN + PLOT / 2}" y="{height - 8}" text-anchor="middle">'
        "how sure it says it is</text>"
        f'<text transform="translate(9 {MARGIN / 2 + PLOT / 2}) rotate(-90)" '
        'text-anchor="middle">how often it is right</text>'
    )
    return Markup(  # numbers only: nothing of a user's text is in here
        f'<svg width="{width}" height="{height}" role="img" '
        f'aria-label="calibration plot">{"".join(lines)}</svg>'
    )
