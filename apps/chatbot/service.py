"""A released bot with its database: what the page and the REST service both open."""

import os
from collections.abc import Callable
from datetime import datetime

from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations, Limits
from apps.chatbot.settings import ChatbotSettings
from apps.chatbot.tables import MIGRATIONS, VERSION_TABLE
from shared.device import Device
from shared.inference.model_encoders import OpenEncoders
from shared.registry import Registry
from shared.settings import Home, database_url, load_section, settings_file
from shared.storage import create_engine, upgrade


def open_conversations(
    reference: str,
    *,
    home: Home,
    clock: Callable[[], datetime],
    threads: int | None = None,
    device: Device = "auto",
    opened: OpenEncoders | None = None,
) -> Conversations:
    """Load model `reference` and the conversations database, brought to its newest schema.
    opened: encoders that this process shares.

    Raises:
        ModelError: no such model, or a broken one. ServiceError: the database does not answer.
        SettingsError: [chatbot] in triptych.toml is wrong, or the device is not there.
    """
    version = Registry(home.models, clock).resolve(reference, app="chatbot")
    settings = load_section(
        ChatbotSettings, "chatbot", file=settings_file(os.environ), environ=os.environ
    )
    engine = create_engine(database_url(home, os.environ))
    upgrade(engine, MIGRATIONS, VERSION_TABLE)
    return Conversations(
        Bot.load(version.path, home=home, threads=threads, device=device, opened=opened),
        engine,
        model=f"{version.name}@{version.version}",
        limits=Limits(settings.max_clarifications, settings.max_refusals),
        clock=clock,
    )
