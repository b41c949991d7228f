"""A chosen topic that nobody judges is a mistake at the start, and a line later."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from apps.news_monitor.delivery import OutboxMailer
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.monitor import Monitor
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.telling import Subscription, Webhook
from shared.errors import SettingsError

NOW = datetime(2026, 3, 11, 14, 30, tzinfo=UTC)
OIL = "oil@bank.example"
EMPTY = b"<rss version='2.0'><channel/></rss>"
Watch = Callable[..., Monitor]


@pytest.fixture
def watch(sqlite: Engine, labeller: LabelTexts, tmp_path: Path) -> Watch:
    """A monitor with one reader of these topics."""

    def begin(*topics: str, **changes: Any) -> Monitor:
        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(200, stream=httpx.ByteStream(EMPTY))

        settings = NewsSettings(
            recipients=(OIL,),
            subscriptions=(Subscription(address=OIL, topics=topics),),
            **changes,
        )
        client = httpx.Client(transport=httpx.MockTransport(answer))
        return Monitor(sqlite, settings, labeller, OutboxMailer(tmp_path), client=lambda: client)

    return begin


def listed(folder: Path, *rows: str) -> str:
    file = folder / "companies.csv"
    file.write_text("\n".join(("company,ticker", *rows)) + "\n")
    return str(file)


def test_names_are_taken_in_any_case() -> None:
    one = Subscription(address=OIL, topics=("oil", "apple (aapl)"))
    assert one.wants("Oil", "high")
    assert one.wants("Apple (AAPL)", "high")
    assert not one.wants("Oils", "high")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Airlnies", "; did you mean 'Airlines'?"),
        ("apple", "; did you mean 'Apple (AAPL)'?"),
        ("aapl", "; did you mean 'Apple (AAPL)'?"),
        ("Weather", "; there are: Airlines, Apple (AAPL), Banks, Oil"),
    ],
)
def test_an_unknown_one_is_one_clear_line_at_the_start(
    watch: Watch, tmp_path: Path, name: str, hint: str
) -> None:
    begun = watch("oil", name, companies=listed(tmp_path, "Apple,AAPL"))
    with pytest.raises(SettingsError) as caught:
        begun.tick(NOW)
    assert str(caught.value) == (
        f"[[news.subscriptions]] oil@bank.example: topics = {name!r} is no topic of model words@1 "
        f"and no company that is followed{hint}"
    )


def test_of_a_webhook_the_host_alone_is_named(watch: Watch) -> None:
    hook = Webhook(
        url="https://h.example/secret-path", secret=SecretStr("s" * 16), topics=("Bonks",)
    )
    with pytest.raises(SettingsError) as caught:
        watch("Oil", webhooks=(hook,)).tick(NOW)
    assert str(caught.value).startswith("[[news.webhooks]] https://h.example: topics = 'Bonks' is")
    assert str(caught.value).endswith("; did you mean 'Banks'?")


def test_a_company_taken_off_the_list_is_a_line_a_day(watch: Watch, tmp_path: Path) -> None:
    companies = listed(tmp_path, "Apple,AAPL", "Shell,SHEL")
    line = (
        "[[news.subscriptions]] oil@bank.example: 'shell (shel)' is not followed now; nothing is "
        "told of it"
    )
    begun = watch("shell (shel)", companies=companies)
    assert line not in begun.tick(NOW).lines
    listed(tmp_path, "Apple,AAPL")
    told = [line in begun.tick(NOW + timedelta(hours=n)).lines for n in (1, 2, 12)]
    assert told == [True, False, True]
    # Nor does it stop the next start.
    assert line in watch("shell (shel)", companies=companies).tick(NOW).lines
    listed(tmp_path, "Shell,SHEL")
    assert line not in begun.tick(NOW + timedelta(hours=13)).lines


def test_a_topic_of_the_model_that_these_settings_leave_out_is_a_line(watch: Watch) -> None:
    lines = watch("Oil", topics=("Banks",)).tick(NOW).lines
    assert (
        "[[news.subscriptions]] oil@bank.example: 'Oil' is not followed now; nothing is told of it"
        in lines
    )


def test_a_list_that_cannot_be_read_proves_nothing(watch: Watch, tmp_path: Path) -> None:
    begun = watch("Apple (AAPL)", companies=str(tmp_path / "gone.csv"))
    assert any("'Apple (AAPL)' is not followed now" in line for line in begun.tick(NOW).lines)
