"""The HTML of the alert mail."""

ALERT_HTML = """\
{% extends "frame" %}
{% from "parts" import actions, grid, heading, note, picture, told %}
{% block head %}
<tr><td style="padding:22px 26px 0 26px;font-size:13px;color:#c62828;font-weight:bold;">
{{ severity }} &middot; {{ topic }} &middot;
<span style="color:#66707d;font-weight:normal;">{{ opened }}</span></td></tr>
{% endblock %}
{% block body %}
{% if reminder %}
{{ note(reminder) }}
{% endif %}
{{ grid(heads, rows) }}
{{ note(chance) }}
{{ actions(links) }}
{{ picture(cid, chart_text) }}
{{ heading("The stories that carry it") }}
{% for story in stories %}
{{ told(story) }}
{% endfor %}
{% if moving %}
<tr><td style="padding:16px 26px 0 26px;font-size:13px;line-height:19px;">
<b>Moving with it:</b> {{ moving }}</td></tr>
{% endif %}
{% endblock %}
"""
