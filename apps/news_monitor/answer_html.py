"""The small pages behind the links in mails: every value escaped, no script, no image."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment

ANSWER_HTML = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { margin: 0; background: #f3f4f6; color: #1f2630;
  font: 16px/24px -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; }
main { box-sizing: border-box; max-width: 560px; margin: 40px auto; padding: 26px;
  background: #ffffff; border-top: 5px solid #1a4f8b; }
h1 { margin: 0 0 12px 0; font-size: 21px; line-height: 28px; }
p { margin: 0 0 12px 0; overflow-wrap: anywhere; }
button, select { font: inherit; padding: 9px 16px; margin: 6px 8px 6px 0; }
button { background: #1a4f8b; color: #ffffff; border: 0; cursor: pointer; }
button.plain { background: #ffffff; color: #1a4f8b; border: 1px solid #c3c9d2; }
small { color: #66707d; }
</style></head>
<body><main>
<h1>{{ title }}</h1>
{% for line in lines %}
<p>{{ line }}</p>
{% endfor %}
{% if button %}
<form method="post">
{% if hours %}
<label>For <select name="hours">
{% for choice in hours %}
<option value="{{ choice.value }}"
{%- if choice.usual %} selected{% endif %}>{{ choice.text }}</option>
{% endfor %}
</select></label>
{% endif %}
<button>{{ button }}</button>
</form>
{% endif %}
{% if undo %}
<form method="post" action="{{ undo }}"><button class="plain">Subscribe again</button></form>
{% endif %}
<p><small>Triptych news monitor{% if dashboard %} &middot;
<a href="{{ dashboard }}">all alerts</a>{% endif %}</small></p>
</main></body></html>
"""


@dataclass(frozen=True)
class Choice:
    """One of a list. usual: chosen beforehand."""

    value: str
    text: str
    usual: bool


def answer_page(
    *,
    title: str,
    lines: Sequence[str],
    dashboard: str = "",
    button: str = "",
    hours: Sequence[Choice] = (),
    undo: str = "",
) -> str:
    """lines: paragraphs. button: what the form's button says, "" without a form. undo: where a
    second form leads that takes it back."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(ANSWER_HTML).render(
        title=title, lines=lines, dashboard=dashboard, button=button, hours=hours, undo=undo
    )
