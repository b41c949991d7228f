"""The mail as a person and a mail program meet it."""

import email
import json
import re
import struct
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from email.policy import default

import pytest

from apps.news_monitor.chart import chart_png
from apps.news_monitor.evidence import Evidence
from apps.news_monitor.mail import (
    Envelope,
    chance_words,
    compose,
    first_sentence,
    subject,
    text_body,
    web_link,
)
from apps.news_monitor.occasion import Occasion

HOUR = timedelta(hours=1)
ENVELOPE = Envelope(
    sender="Triptych News <news@bank.example>",
    recipient="desk@bank.example",
    message_id="<alert-17.r1.u5.deadbeef@bank.example>",
    thread_id="<alert-17.deadbeef@bank.example>",
    dashboard_url="http://127.0.0.1:8501",
)


def read(evidence: Evidence) -> EmailMessage:
    message = compose(evidence, ENVELOPE, evidence.opened_at)
    return email.message_from_bytes(message.as_bytes(), policy=default)


def part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_the_subject_and_first_sentence_say_what_happened(evidence: Evidence) -> None:
    assert subject(evidence) == "[High] Airlines: 14 of 30 stories negative (usual 4)"
    assert first_sentence(evidence) == (
        "Bad news about Airlines is surging: 14 of the 30 stories of the last 24 hours are "
        "negative, where about 4 would be usual."
    )
    longer = replace(evidence, window_hours=72)
    assert "of the last 3 days are" in first_sentence(longer)


def test_headers_identify_thread_and_list(evidence: Evidence) -> None:
    message = read(evidence)
    assert message["Message-ID"] == ENVELOPE.message_id
    assert message["References"] == message["In-Reply-To"] == ENVELOPE.thread_id
    assert message["From"] == "Triptych News <news@bank.example>"
    assert message["To"] == "desk@bank.example"
    assert message["Date"] == "Wed, 11 Mar 2026 14:00:00 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Id"] == "News alerts <news-alerts.bank.example>"
    assert message["List-Unsubscribe"] == "<mailto:news@bank.example?subject=unsubscribe>"


def test_the_text_holds_the_whole_alert(evidence: Evidence) -> None:
    assert (
        text_body(evidence, ENVELOPE)
        == """\
Bad news about Airlines is surging: 14 of the 30 stories of the last 24 hours are \
negative, where about 4 would be usual.

                       now   usual   usual range   chance
Negative of 30          14       4   1 to 8        1 in 83,000
Negative share         47%     13%   3% to 27%     1 in 83,000
Negative stories        14       3                 1 in 3,300
All stories             30      22                 1 in 5

Luck alone takes a topic this far about once in 167 weeks (score 7.2, alerts start at 3.4).

The stories that carry it:

- Regulators <b>ground</b> the fleet & more
  CNBC, FT, Guardian and 1 more, Wed 11 Mar 2026, 09:00 UTC
  https://news.example/a?x=1&y=2

- Shares slide
  publisher unknown, Wed 11 Mar 2026, 12:00 UTC

Moving with it: Insurance 6 of 14 negative (usual 12%)

Data: 11 of 12 sources answered; 214 stories in 24 hours, 38 copies set aside; \
measured against 84 days of history.
Model: news@3

All evidence: http://127.0.0.1:8501

--{blank}
Sent to desk@bank.example by the Triptych news monitor.
""".replace("{blank}", " ")
    )


def test_of_a_doubled_volume_no_row_contradicts_itself(evidence: Evidence) -> None:
    doubled = replace(
        evidence, stories=60, negative=8, expected=8.04, low=3, high=14, usual_stories=30.0,
        p_share=0.5, p_count=0.02, p_volume=0.01,
    )  # fmt: skip
    rows = text_body(doubled, ENVELOPE).splitlines()[3:7]
    assert rows == [
        "Negative of 60           8       8   3 to 14       usual",
        "Negative share         13%     13%   5% to 23%     usual",
        "Negative stories         8       4                 1 in 50",
        "All stories             60      30                 1 in 100",
    ]


def test_an_alert_that_rose_says_so_first(evidence: Evidence) -> None:
    later = replace(evidence, severity="critical", evaluated_at=evidence.opened_at + HOUR)
    message = compose(later, ENVELOPE, later.evaluated_at, occasion=Occasion(was="warning"))
    assert message["Subject"] == "Risen: [Critical] Airlines: 14 of 30 stories negative (usual 4)"
    assert part(message, "plain").splitlines()[:2] == [
        "Bad news about Airlines has risen from warning to critical: 14 of the 30 stories of the "
        "last 24 hours are negative, where about 4 would be usual.",
        "It opened on Wed 11 Mar 2026, 14:00 UTC; these figures are of Wed 11 Mar 2026, 15:00 UTC.",
    ]


def test_why_a_mail_goes_is_kept_with_it() -> None:
    assert Occasion.from_json(None, 1) == Occasion()
    assert Occasion.from_json(None, 2) == Occasion(reminder=True)
    kept = Occasion(was="high").before("{}")
    assert Occasion.from_json(kept.to_json(), 2) == Occasion(was="high", evidence="{}")
    assert kept.before("{later}") == kept


def test_titles_are_escaped_and_only_web_links_are_links(evidence: Evidence) -> None:
    html = part(read(evidence), "html")
    assert "Regulators &lt;b&gt;ground&lt;/b&gt; the fleet &amp; more" in html
    assert 'href="https://news.example/a?x=1&amp;y=2"' in html
    assert "javascript:" not in html
    assert len(html) < 100_000
    assert web_link("ftp://x.example") == ""


def test_the_picture_is_inside_and_named_in_the_html(evidence: Evidence) -> None:
    message = read(evidence)
    (picture,) = [p for p in message.walk() if p.get_content_type() == "image/png"]
    cid = str(picture["Content-ID"]).strip("<>")
    assert f'src="cid:{cid}"' in part(message, "html")
    assert picture.get_content_disposition() == "inline"
    kinds = [p.get_content_type() for p in message.walk()]
    assert kinds == [
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
    ]


def test_the_chart_is_a_png_of_its_size_and_always_the_same(evidence: Evidence) -> None:
    picture = chart_png(evidence)
    assert picture == chart_png(evidence)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", picture[16:24]) == (1200, 460)
    assert chart_png(replace(evidence, days=()))[:4] == b"\x89PNG"


def test_a_repeated_mail_is_the_same_to_the_byte(evidence: Evidence) -> None:
    first = compose(evidence, ENVELOPE, evidence.opened_at).as_bytes()
    assert first == compose(evidence, ENVELOPE, evidence.opened_at).as_bytes()


def test_line_breaks_in_a_topic_cannot_add_headers(evidence: Evidence) -> None:
    message = read(replace(evidence, topic="Oil\r\nBcc: all@bank.example"))
    assert message["Bcc"] is None
    assert message["Subject"].startswith("[High] Oil Bcc: all@bank.example: 14 of")


def test_other_scripts_survive(evidence: Evidence) -> None:
    message = read(replace(evidence, topic="石油 – Öl"))
    assert message["Subject"] == "[High] 石油 – Öl: 14 of 30 stories negative (usual 4)"
    assert "石油" in part(message, "plain")


@pytest.mark.parametrize(
    ("p", "words"),
    [(0.6, "usual"), (0.1, "1 in 10"), (1.2e-5, "1 in 83,000"), (1e-9, "below 1 in 1,000,000")],
)
def test_chances_are_told_in_round_numbers(p: float, words: str) -> None:
    assert chance_words(p) == words


def test_evidence_survives_its_storage(evidence: Evidence) -> None:
    assert Evidence.from_json(evidence.to_json()) == evidence
    later = replace(evidence, opened_at=evidence.opened_at + timedelta(hours=1))
    assert Evidence.from_json(later.to_json()) != evidence


def test_evidence_of_before_the_words_were_kept_is_read(evidence: Evidence) -> None:
    stored = json.loads(evidence.to_json())
    for line in stored["headlines"]:
        del line["words"]
    assert all(not line.words for line in Evidence.from_json(json.dumps(stored)).headlines)


def test_no_line_of_the_mail_is_too_long_for_smtp(evidence: Evidence) -> None:
    raw = compose(evidence, ENVELOPE, evidence.opened_at).as_bytes()
    assert max(map(len, re.split(rb"\r\n", raw))) <= 998
