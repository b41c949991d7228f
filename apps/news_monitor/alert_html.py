"""The HTML of the alert mail, a Jinja2 template; every value in it is escaped.

Tables and inline styles only: it is what mail programs agree on.
"""

ALERT_HTML = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ topic }}</title></head>
<body style="margin:0;padding:0;background:#f3f4f6;color:#1f2630;
  font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr>
<td align="center" style="padding:20px 10px;">
<table role="presentation" width="640" cellpadding="0" cellspacing="0"
  style="width:100%;max-width:640px;background:#ffffff;border-top:5px solid #c62828;">
<tr><td style="padding:22px 26px 0 26px;font-size:13px;color:#c62828;font-weight:bold;">
{{ severity }} &middot; {{ topic }} &middot;
<span style="color:#66707d;font-weight:normal;">{{ opened }}</span></td></tr>
<tr><td style="padding:6px 26px 0 26px;font-size:19px;line-height:27px;">{{ first }}</td></tr>
<tr><td style="padding:16px 26px 0 26px;">
<table width="100%" cellpadding="0" cellspacing="0"
  style="font-size:14px;border-collapse:collapse;">
<tr style="color:#66707d;font-size:12px;">
<th align="left" style="padding:4px 0;font-weight:normal;"></th>
<th align="right" style="padding:4px 8px;font-weight:normal;">now</th>
<th align="right" style="padding:4px 8px;font-weight:normal;">usual</th>
<th align="right" style="padding:4px 8px;font-weight:normal;">usual range</th>
<th align="right" style="padding:4px 0;font-weight:normal;">chance</th></tr>
{% for row in rows %}
<tr style="border-top:1px solid #e4e7ec;">
<td style="padding:7px 0;">{{ row.name }}</td>
<td align="right" style="padding:7px 8px;font-weight:bold;
{%- if not loop.last %}color:#c62828;{% endif %}">{{ row.now }}</td>
<td align="right" style="padding:7px 8px;">{{ row.usual }}</td>
<td align="right" style="padding:7px 8px;">{{ row.span }}</td>
<td align="right" style="padding:7px 0;">{{ row.chance }}</td></tr>
{% endfor %}
</table></td></tr>
<tr><td style="padding:10px 26px 0 26px;font-size:13px;line-height:19px;color:#66707d;">
{{ chance }}</td></tr>
<tr><td style="padding:16px 26px 0 26px;">
<img src="cid:{{ cid }}" width="588" alt="{{ chart_text }}"
  style="width:100%;max-width:588px;height:auto;display:block;border:0;"></td></tr>
<tr><td style="padding:18px 26px 0 26px;font-size:15px;font-weight:bold;">
The stories that carry it</td></tr>
{% for story in stories %}
<tr><td style="padding:10px 26px 0 26px;font-size:14px;line-height:20px;">
{% if story.url %}
<a href="{{ story.url }}" style="color:#1a4f8b;text-decoration:none;">{{ story.title }}</a>
{% else %}
{{ story.title }}
{% endif %}
<br><span style="font-size:12px;color:#66707d;">{{ story.who }} &middot; {{ story.when }}
&middot; negative with {{ story.negative }} probability
{% if story.host %}
&middot; {{ story.host }}
{% endif %}
</span></td></tr>
{% endfor %}
{% if moving %}
<tr><td style="padding:16px 26px 0 26px;font-size:13px;line-height:19px;">
<b>Moving with it:</b> {{ moving }}</td></tr>
{% endif %}
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
