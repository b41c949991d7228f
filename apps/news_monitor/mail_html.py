"""What all mails of the monitor look like: one frame, and the parts they are made of.

Jinja2 templates; every value in them is escaped. Tables and inline styles only: it is what mail
programs agree on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from jinja2 import DictLoader, Environment, Template

RED, BLUE = "#c62828", "#1a4f8b"

FRAME = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title></head>
<body style="margin:0;padding:0;background:#f3f4f6;color:#1f2630;
  font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr>
<td align="center" style="padding:20px 10px;">
<table role="presentation" width="640" cellpadding="0" cellspacing="0"
  style="width:100%;max-width:640px;background:#ffffff;border-top:5px solid {{ accent }};">
{% block head %}{% endblock %}
<tr><td style="padding:22px 26px 0 26px;font-size:19px;line-height:27px;">{{ first }}</td></tr>
{% block body %}{% endblock %}
{% if dashboard %}
<tr><td style="padding:20px 26px 0 26px;">
<a href="{{ dashboard }}" style="display:inline-block;background:#1a4f8b;color:#ffffff;
font-size:14px;padding:9px 16px;text-decoration:none;">All evidence</a></td></tr>
{% endif %}
<tr><td style="padding:20px 26px 22px 26px;font-size:12px;line-height:18px;color:#66707d;">
{% for line in foot %}
{{ line }}<br>
{% endfor %}
Sent to {{ recipient }} by the Triptych news monitor.
{% if unsubscribe %}
<a href="{{ unsubscribe }}" style="color:#66707d;">Unsubscribe</a>
{% endif %}
</td></tr>
</table></td></tr></table>
</body></html>
"""

PARTS = """\
{% macro heading(text) %}
<tr><td style="padding:18px 26px 0 26px;font-size:15px;font-weight:bold;">{{ text }}</td></tr>
{% endmacro %}

{% macro note(text) %}
<tr><td style="padding:10px 26px 0 26px;font-size:13px;line-height:19px;color:#66707d;">
{{ text }}</td></tr>
{% endmacro %}

{% macro grid(heads, rows) %}
<tr><td style="padding:16px 26px 0 26px;">
<table width="100%" cellpadding="0" cellspacing="0"
  style="font-size:14px;border-collapse:collapse;">
<tr style="color:#66707d;font-size:12px;">
{% for head in heads %}
<th align="{{ 'left' if head.left else 'right' }}"
  style="padding:4px {{ 0 if loop.last else 8 }}px 4px {{ 0 if loop.first else 8 }}px;
  font-weight:normal;">{{ head.text }}</th>
{% endfor %}
</tr>
{% for row in rows %}
<tr style="border-top:1px solid #e4e7ec;">
{% for cell in row %}
<td align="{{ 'left' if heads[loop.index0].left else 'right' }}"
  style="padding:7px {{ 0 if loop.last else 8 }}px 7px {{ 0 if loop.first else 8 }}px;
  {%- if cell.strong %}font-weight:bold;{% endif %}
  {%- if cell.bad %}color:#c62828;{% endif %}">{{ cell.text }}</td>
{% endfor %}
</tr>
{% endfor %}
</table></td></tr>
{% endmacro %}

{% macro picture(cid, text) %}
<tr><td style="padding:16px 26px 0 26px;">
<img src="cid:{{ cid }}" width="588" alt="{{ text }}"
  style="width:100%;max-width:588px;height:auto;display:block;border:0;"></td></tr>
{% endmacro %}

{% macro told(story) %}
<tr><td style="padding:10px 26px 0 26px;font-size:14px;line-height:20px;">
{% if story.url %}
<a href="{{ story.url }}" style="color:#1a4f8b;text-decoration:none;">{{ story.title }}</a>
{% else %}
{{ story.title }}
{% endif %}
<br><span style="font-size:12px;color:#66707d;">{{ story.who }} &middot; {{ story.when }}
{% if story.negative %}
&middot; negative with {{ story.negative }} probability
{% endif %}
{% if story.host %}
&middot; {{ story.host }}
{% endif %}
</span></td></tr>
{% endmacro %}

{% macro actions(links) %}
{% if links %}
<tr><td style="padding:12px 26px 0 26px;font-size:13px;line-height:30px;">
{% for label, url in links %}
<a href="{{ url }}" style="display:inline-block;border:1px solid #c3c9d2;color:#1a4f8b;
line-height:18px;padding:4px 11px;margin:0 6px 4px 0;text-decoration:none;">{{ label }}</a>
{% endfor %}
</td></tr>
{% endif %}
{% endmacro %}
"""


@dataclass(frozen=True)
class Head:
    """Of a column."""

    text: str
    left: bool = False


@dataclass(frozen=True)
class Cell:
    text: str
    strong: bool = False
    bad: bool = False


def render(template: str, values: Mapping[str, object]) -> str:
    """A mail's HTML. template: extends "frame"; values: title, accent, first, dashboard, foot
    (lines), recipient, unsubscribe, and what the template itself asks for."""
    return _compiled(template).render(values)


@lru_cache(maxsize=16)  # more than there are templates; compiling one takes longer than using it
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=DictLoader({"frame": FRAME, "parts": PARTS}),
    )
