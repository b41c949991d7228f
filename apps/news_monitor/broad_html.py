"""The HTML of the mail about many topics, a Jinja2 template; every value in it is escaped."""

BROAD_HTML = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ subject }}</title></head>
<body style="margin:0;padding:0;background:#f3f4f6;color:#1f2630;
  font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr>
<td align="center" style="padding:20px 10px;">
<table role="presentation" width="640" cellpadding="0" cellspacing="0"
  style="width:100%;max-width:640px;background:#ffffff;border-top:5px solid #c62828;">
<tr><td style="padding:22px 26px 0 26px;font-size:19px;line-height:27px;">{{ first }}</td></tr>
<tr><td style="padding:16px 26px 0 26px;">
<table width="100%" cellpadding="0" cellspacing="0"
  style="font-size:14px;border-collapse:collapse;">
<tr style="color:#66707d;font-size:12px;">
<th align="left" style="padding:4px 0;font-weight:normal;"></th>
<th align="left" style="padding:4px 8px;font-weight:normal;">severity</th>
<th align="right" style="padding:4px 8px;font-weight:normal;">negative</th>
<th align="right" style="padding:4px 8px;font-weight:normal;">usual</th>
<th align="right" style="padding:4px 8px;font-weight:normal;">within</th>
<th align="right" style="padding:4px 0;font-weight:normal;">score</th></tr>
{% for topic in topics %}
<tr style="border-top:1px solid #e4e7ec;">
<td style="padding:7px 0;font-weight:bold;">{{ topic.name }}</td>
<td style="padding:7px 8px;">{{ topic.severity }}</td>
<td align="right" style="padding:7px 8px;font-weight:bold;color:#c62828;">{{ topic.negative }}</td>
<td align="right" style="padding:7px 8px;">{{ topic.usual }}</td>
<td align="right" style="padding:7px 8px;">{{ topic.span }}</td>
<td align="right" style="padding:7px 0;">{{ topic.score }}</td></tr>
{% endfor %}
</table></td></tr>
{% for topic in topics %}
<tr><td style="padding:18px 26px 0 26px;font-size:15px;font-weight:bold;">{{ topic.name }}</td></tr>
{% if topic.cid %}
<tr><td style="padding:8px 26px 0 26px;">
<img src="cid:{{ topic.cid }}" width="588"
  alt="{{ topic.name }}: all and negative stories of the last 28 days"
  style="width:100%;max-width:588px;height:auto;display:block;border:0;"></td></tr>
{% endif %}
{% for story in topic.stories %}
<tr><td style="padding:8px 26px 0 26px;font-size:14px;line-height:20px;">
{% if story.url %}
<a href="{{ story.url }}" style="color:#1a4f8b;text-decoration:none;">{{ story.title }}</a>
{% else %}
{{ story.title }}
{% endif %}
<br><span style="font-size:12px;color:#66707d;">{{ story.who }} &middot; {{ story.when }}</span>
</td></tr>
{% endfor %}
{% endfor %}
{% if dashboard %}
<tr><td style="padding:20px 26px 0 26px;">
<a href="{{ dashboard }}" style="display:inline-block;background:#1a4f8b;color:#ffffff;
font-size:14px;padding:9px 16px;text-decoration:none;">All evidence</a></td></tr>
{% endif %}
<tr><td style="padding:20px 26px 22px 26px;font-size:12px;line-height:18px;color:#66707d;">
Data: {{ health }}<br>Model: {{ model }}<br>
Sent to {{ recipient }} by the Triptych news monitor.</td></tr>
</table></td></tr></table>
</body></html>
"""
