"""The HTML of mails about several alerts: many topics at once, a digest, what a pause missed."""

BROAD_HTML = """\
{% extends "frame" %}
{% from "parts" import actions, grid, heading, note, picture, told %}
{% block body %}
{% for line in notes %}
{{ note(line) }}
{% endfor %}
{% if rows %}
{{ grid(heads, rows) }}
{% endif %}
{% for topic in topics %}
{{ heading(topic.name) }}
{% if topic.cid %}
{{ picture(topic.cid, topic.name ~ ": all and negative stories of the last 28 days") }}
{% endif %}
{% for story in topic.stories %}
{{ told(story) }}
{% endfor %}
{{ actions(topic.links) }}
{% endfor %}
{% endblock %}
"""
