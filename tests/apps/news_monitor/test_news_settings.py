"""Mistakes in [news] are one clear line each."""

from email.headerregistry import Address
from pathlib import Path

import pytest

from apps.news_monitor.episodes import EpisodeRule
from apps.news_monitor.settings import SECTION, NewsSettings
from shared.errors import SettingsError
from shared.settings import load_section


def load(text: str, tmp_path: Path, **environ: str) -> NewsSettings:
    file = tmp_path / "triptych.toml"
    file.write_text(text)
    return load_section(NewsSettings, SECTION, file=file, environ=environ)


def test_the_whole_section_is_read(tmp_path: Path) -> None:
    settings = load(
        """
        [news]
        feeds = ["https://a.example/rss", "https://a.example/rss"]
        recipients = ["desk@bank.example"]
        false_alarms_per_week = 0.5
        [news.smtp]
        host = "mx.bank.example"
        username = "news"
        [news.surges]
        cadence_hours = 24
        windows_hours = [72, 24]
        """,
        tmp_path,
        TRIPTYCH_NEWS__SMTP__PASSWORD="hush",
    )
    assert settings.feeds == ("https://a.example/rss",)
    assert settings.smtp.password.get_secret_value() == "hush"
    assert "hush" not in repr(settings)
    assert settings.surges.rule.windows_hours == (24, 72)
    assert settings.surges.episode_rule == EpisodeRule(confirmations=1, cooldown_hours=72)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'feeds = ["ftp://a.example/x"]',
            "triptych.toml [news]: feeds = ['ftp://a.example/x'], expected http:// or https:// "
            "addresses, not 'ftp://a.example/x'",
        ),
        (
            'feeds = ["http://a.example:99999/x"]',
            "expected http:// or https:// addresses, not 'http://a.example:99999/x'",
        ),
        (
            '[[news.webhooks]]\nurl = "https://a.example:port/x"\nsecret = "0123456789abcdef"',
            "expected http:// or https:// addresses, not 'https://a.example:port/x'",
        ),
        (
            'recipients = ["desk"]',
            "triptych.toml [news]: recipients = ['desk'], expected mail addresses such as "
            "desk@bank.example, not 'desk'",
        ),
        (
            'recipients = ["müller@bank.example"]',
            "[news]: recipients = ['müller@bank.example'], expected mail addresses such as "
            "desk@bank.example, not 'müller@bank.example'; mail goes to ASCII letters, digits and "
            "signs only: give another address of theirs",
        ),
        (
            'recipients = ["a..b@x.example"]',
            "not 'a..b@x.example'; no dot may begin or end either side of the @, or stand beside "
            "another",
        ),
        (
            '[news.reports]\nto = ["desk@bank.example."]',
            "not 'desk@bank.example.'; no dot may begin or end either side of the @",
        ),
        (
            'recipients = ["desk@bänk.example"]',
            "not 'desk@bänk.example'; write its domain as it is registered, xn--...",
        ),
        (
            f'recipients = ["{"a" * 65}@bank.example"]',
            "; at most 64 characters before the @, 254 in all",
        ),
        (
            'mail_from = "News, Desk <news@bank.example>"',
            "mail_from = 'News, Desk <news@bank.example>', expected an address such as "
            "News <news@bank.example>",
        ),
        (
            'mail_from = "a@b\\nBcc: x@y"',
            "triptych.toml [news]: mail_from = 'a@b\\nBcc: x@y', expected an address such as "
            "News <news@bank.example>",
        ),
        (
            "false_alarms_per_week = 0",
            "triptych.toml [news]: false_alarms_per_week = 0, expected a number > 0.0 and <= 100.0",
        ),
        (
            '[news.smtp]\nhost = "mx.example"\nusername = "u"\nsecurity = "plain"',
            "smtp.security = 'plain' would send the password to mx.example readable by anyone",
        ),
        (
            "[news.stories]\nsame_event = 0.3",
            "below 0.5 unrelated events would be one; expected 0, or 0.5 to 1",
        ),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(f"[news]\n{text}", tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["desk@bank.example", "o'neil+news/1@b.example", "a.b@localhost", "desk@xn--bnk-sla.example"],
)
def test_every_address_that_is_taken_makes_a_mail(address: str) -> None:
    assert NewsSettings(recipients=(address,)).recipients == (address,)
    assert Address(addr_spec=address).addr_spec == address
    assert NewsSettings(mail_from=f"Desk at night <{address}>").mail_from
    assert NewsSettings(mail_from=f'"Desk, at night" <{address}>').mail_from
