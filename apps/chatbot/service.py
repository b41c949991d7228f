"""A released bot with its database: what the page and the REST service both open."""

from collections.abc import Callable
from datetime import datetime

from apps.chatbot.bot import Bot
from apps.chatbot.conversation import Conversations
from apps.chatbot.learning.live_teaching import LiveTeaching
from apps.chatbot.opening import chatbot_settings, handovers_on, opened_database
from apps.chatbot.turns import Limits
from shared.device import Device
from shared.inference.model_encoders import OpenEncoders
from shared.registry import ModelVersion, Registry
from shared.settings import Home


def open_conversations(
    reference: str,
    *,
    home: Home,
    clock: Callable[[], datetime],
    threads: int | None = None,
    device: Device | None = None,
    opened: OpenEncoders | None = None,
) -> Conversations:
    """Load model `reference` and the conversations database, brought to its newest schema; the bot
    knows what it was taught since its training. device: by default that of the settings. opened:
    encoders that this process shares.

    Raises:
        ModelError: no such model, or a broken one. ServiceError: the database does not answer.
        SettingsError: [chatbot] in triptych.toml is wrong, or the device is not there.
    """
    version = Registry(home.models, clock).resolve(reference, app="chatbot")
    settings = chatbot_settings()
    engine = opened_database(home)
    handovers = handovers_on(engine, settings, clock)
    bot = Bot.load(
        version.path, home=home, threads=threads, device=device, opened=opened, live=True,
        is_open=lambda: handovers.open_now,
    )  # fmt: skip
    teaching = LiveTeaching(bot, engine, version.name)
    teaching.refresh()
    return Conversations(
        bot,
        engine,
        model=f"{version.name}@{version.version}",
        limits=Limits(settings.max_clarifications, settings.max_refusals),
        clock=clock,
        handovers=handovers,
        teaching=teaching,
    )


def open_bot(
    reference: str, *, home: Home, clock: Callable[[], datetime], threads: int | None = None
) -> tuple[Bot, ModelVersion]:
    """A bot outside any conversation, with what was changed and taught since its training.

    Raises: ModelError: no such model, or a broken one. ServiceError: the database does not answer.
    """
    version = Registry(home.models, clock).resolve(reference, app="chatbot")
    hours = chatbot_settings().handover.opening_hours
    bot = Bot.load(
        version.path, home=home, threads=threads, live=True, is_open=lambda: hours.is_open(clock())
    )
    LiveTeaching(bot, opened_database(home), version.name).refresh()
    return bot, version
