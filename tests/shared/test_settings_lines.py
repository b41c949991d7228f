"""Lines of a settings file, counted by hand."""

from pathlib import Path

import pytest

from shared.settings_lines import lines_of_keys, place_of_key

TEXT = """\
# [news] is commented out here, key = 1 too
[triptych]
seed = 3

[news]
topics = [
  "a = 1",
]
mail_from = '''
budget = 2
[news.fetch]
'''
smtp = { host = "mail" }   # inline
surges.min_negative = 5
[ news.other ]
x = 1
[news.fetch] # feeds
  every_minutes = 20
[[news.subscriptions]]
address = "a@b.example"
[[news.subscriptions]]
address = "c@b.example"
"""


def test_a_key_stands_where_it_is_written_and_not_where_a_text_looks_like_it() -> None:
    assert lines_of_keys(TEXT) == {
        "triptych": 2,
        "triptych.seed": 3,
        "news": 5,
        "news.topics": 6,
        "news.mail_from": 9,
        "news.smtp": 13,
        "news.surges.min_negative": 14,
        "news.other": 15,
        "news.other.x": 16,
        "news.fetch": 17,
        "news.fetch.every_minutes": 18,
        "news.subscriptions": 19,
        "news.subscriptions.address": 20,
    }


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("topics", "own.toml, line 6"),
        ("fetch.every_minutes", "own.toml, line 18"),
        ("fetch.max_bytes", ""),
        ("surges.min_negative", "own.toml, line 14"),
        ("surges.min_coverage", ""),
        ("smtp.host", "own.toml, line 13"),
        ("smtp.password", "variable TRIPTYCH_NEWS__SMTP__PASSWORD"),
        ("smtp", "variable TRIPTYCH_NEWS__SMTP__PASSWORD"),
        ("links.url", "variable TRIPTYCH_NEWS__LINKS"),
        ("subscriptions", "own.toml, line 19"),
        ("feeds", ""),
    ],
)
def test_a_variable_wins_over_the_file_and_the_file_over_nothing(key: str, wanted: str) -> None:
    environ = {"TRIPTYCH_NEWS__SMTP__PASSWORD": "x", "TRIPTYCH_NEWS__LINKS": "{}"}
    lines, file = lines_of_keys(TEXT), Path("a/own.toml")
    assert place_of_key(key, "news", file=file, lines=lines, environ=environ) == wanted
    assert place_of_key(key, "news", file=None, lines={}, environ={}) == ""
