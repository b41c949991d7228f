"""The HTML of the daily heartbeat."""

REPORT_HTML = """\
{% extends "frame" %}
{% from "parts" import grid, heading, note %}
{% block body %}
{{ grid(heads, rows) }}
{% if alerts %}
{{ heading("Alerts") }}
{% for line in alerts %}
{{ note(line) }}
{% endfor %}
{% endif %}
{% if drift %}
{{ heading("What drifted") }}
{% for line in drift %}
{{ note(line) }}
{% endfor %}
{% endif %}
{{ heading("What was decided") }}
{% if decided %}
{{ grid(decided_heads, decided) }}
{% else %}
{{ note("No hour was judged.") }}
{% endif %}
{% endblock %}
"""
