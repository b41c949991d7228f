"""`[chatbot]` in triptych.toml."""

from pydantic import Field

from shared.settings import Section


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
