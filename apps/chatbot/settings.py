"""`[chatbot]` in triptych.toml."""

from datetime import date, timedelta
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from apps.chatbot.opening_hours import OpeningHours
from shared.settings import Section, TimeZone

SHORTEST_SECRET = 16


class HandoverSettings(Section):
    """[chatbot.handover]: when colleagues are there, how long a chat waits for them, who is told.

    The secret belongs into the environment: TRIPTYCH_CHATBOT__HANDOVER__WEBHOOK_SECRET.
    """

    time_zone: TimeZone = "UTC"
    hours: tuple[str, ...] = Field(
        default=(),
        description="Such as 'mon-fri 09:00-12:30 13:30-17:00'; none: always open.",
    )
    closed_on: tuple[date, ...] = Field(default=(), description="Holidays.")
    wait_minutes: float = Field(
        default=30,
        gt=0,
        le=100_000,
        description="Opening time after which a chat that nobody took goes back to the bot.",
    )
    idle_minutes: float = Field(
        default=15,
        gt=0,
        le=100_000,
        description="Opening time after which a chat whose colleague is silent goes back.",
    )
    webhook_url: str = Field(default="", description="Told of each handover and message.")
    webhook_secret: SecretStr = Field(default=SecretStr(""), validate_default=True)

    @field_validator("webhook_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError(f"expected an http:// or https:// address, not {value!r}")
        return value

    @field_validator("hours")
    @classmethod
    def _are_hours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        OpeningHours.parse(value)
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _signs(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("webhook_url") and len(value.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(
                f"expected {SHORTEST_SECRET} characters or more, which sign what is sent to "
                "webhook_url: set TRIPTYCH_CHATBOT__HANDOVER__WEBHOOK_SECRET"
            )
        return value

    @property
    def opening_hours(self) -> OpeningHours:
        return OpeningHours.parse(self.hours, zone=self.time_zone, holidays=self.closed_on)

    @property
    def wait(self) -> timedelta:
        return timedelta(minutes=self.wait_minutes)

    @property
    def idle(self) -> timedelta:
        return timedelta(minutes=self.idle_minutes)


class ChatbotSettings(Section):
    """How much the bot dares. All rates are shares between 0 and 1."""

    risk: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="At most this share of in-scope messages may get a set of intents without "
        "the true one (the conformal alpha).",
    )
    in_scope_loss: float = Field(
        default=0.03,
        gt=0,
        lt=0.5,
        description="Share of in-scope messages that may be refused as out of scope.",
    )
    max_options: int = Field(default=4, ge=2, le=10, description="Most choices in one question.")
    max_clarifications: int = Field(
        default=2, ge=0, le=5, description="Questions back in a row before a person takes over."
    )
    max_refusals: int = Field(
        default=2, ge=1, le=5, description="Refusals in a row before a person takes over."
    )
    handover_labels: tuple[str, ...] = Field(
        default=("talk_to_person", "talk_to_human", "human_agent", "speak_to_agent"),
        description="Intents that mean: give me a person.",
    )
    messages_per_minute: int = Field(
        default=600,
        ge=1,
        description="Messages of one sender that are taken in a minute, by each process.",
    )
    widget_origins: tuple[str, ...] = Field(
        default=(),
        description="Sites whose pages may show the chat, such as 'https://shop.example'; where a "
        "token guards the service, the chat for pages is there for these alone.",
    )
    handover: HandoverSettings = HandoverSettings()

    @field_validator("widget_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            parts = urlsplit(each)
            if each != f"{parts.scheme}://{parts.netloc}" or parts.scheme not in ("http", "https"):
                raise ValueError(f"expected sites such as 'https://shop.example', not {each!r}")
        return value
