"""The chatbot's settings and tables, opened without a model: pages need no more."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, Engine

from apps.chatbot.deliveries import Deliveries
from apps.chatbot.handover import Handovers, Waits
from apps.chatbot.settings import ChatbotSettings
from apps.chatbot.tables import MIGRATIONS, VERSION_TABLE
from shared.settings import Home, database_url, load_section, settings_file
from shared.storage import create_engine, upgrade


def open_handovers(home: Home, clock: Callable[[], datetime]) -> Handovers:
    """The chats handed over.

    Raises:
        ServiceError: the database does not answer. SettingsError: [chatbot] is wrong.
    """
    return handovers_on(opened_database(home), chatbot_settings(), clock)


def chatbot_settings() -> ChatbotSettings:
    """[chatbot] of triptych.toml, over which the environment wins."""
    return load_section(
        ChatbotSettings, "chatbot", file=settings_file(os.environ), environ=os.environ
    )


def opened_database(home: Home) -> Engine:
    """The home's database, its chatbot tables as they should be."""
    engine = create_engine(database_url(home, os.environ))
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    return engine


@contextmanager
def reading(home: Home) -> Iterator[Connection]:
    """A connection that holds no writer up, however long its queries take, to the home's database.

    Raises ServiceError: the database does not answer.
    """
    opened_database(home).dispose()
    engine = create_engine(database_url(home, os.environ), read_only=True)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def handovers_on(
    engine: Engine, settings: ChatbotSettings, clock: Callable[[], datetime]
) -> Handovers:
    """The chats handed over in this database, under these settings."""
    rules = settings.handover
    secret = rules.webhook_secret.get_secret_value()
    return Handovers(
        engine,
        clock=clock,
        hours=rules.opening_hours,
        waits=Waits(rules.wait, rules.idle),
        deliveries=Deliveries(engine, url=rules.webhook_url, secret=secret, clock=clock),
    )
