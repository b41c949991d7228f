"""The chatbot's own tables: conversations, messages, chats handed over, what the outside is told of
them, feedback, what is learned of all that."""

from pathlib import Path

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from shared.storage import UtcDateTime

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "chatbot_alembic_version"

metadata = MetaData()

conversations = Table(
    "chatbot_conversation",
    metadata,
    Column("sender", String(200), primary_key=True),
    # What the next message may refer to: offered options, a slot asked for, counts.
    Column("state", JSON, nullable=False),
    # Grows with every change: a writer that read an older one reads again (two workers at once).
    Column("revision", Integer, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

messages = Table(
    "chatbot_message",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sender", String(200), ForeignKey("chatbot_conversation.sender"), nullable=False),
    # customer | bot | agent | notice (the house speaks: taken, returned, ended)
    Column("role", String(10), nullable=False),
    Column("text", Text, nullable=False),
    # Of the bot's messages: what decided.
    Column("decision", String(10)),
    Column("intent", String(200)),
    Column("probability", Float),
    Column("model", String(200)),
    Column("at", UtcDateTime, nullable=False),
    # The id that the client gave it: a message that is sent twice is one message.
    Column("client_id", String(200)),
    Column("agent", String(100)),
    # Of the bot's: buttons, why, scorers; of any that a bot has read: ranking.
    Column("details", JSON),
)
Index("chatbot_message_by_sender", messages.c.sender, messages.c.id)
Index("chatbot_message_by_time", messages.c.at)
Index("chatbot_message_once", messages.c.sender, messages.c.role, messages.c.client_id, unique=True)

handovers = Table(
    "chatbot_handover",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sender", String(200), ForeignKey("chatbot_conversation.sender"), nullable=False),
    Column("state", String(10), nullable=False),  # waiting | taken | returned | closed
    Column("reason", Text, nullable=False),
    Column("question", Text, nullable=False),
    Column("ranking", JSON, nullable=False),
    Column("slots", JSON, nullable=False),
    Column("language", String(10), nullable=False),
    Column("model", String(200), nullable=False),
    Column("agent", String(100)),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("taken_at", UtcDateTime),
    # Who is to act by then: unless somebody does, the chat goes back to the bot.
    Column("deadline", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("ended_by", String(100)),  # none where its time ran out
)
Index(
    "chatbot_handover_open",
    handovers.c.sender,
    unique=True,
    sqlite_where=handovers.c.ended_at.is_(None),
    postgresql_where=handovers.c.ended_at.is_(None),
)
Index("chatbot_handover_by_state", handovers.c.state, handovers.c.queued_at)
Index("chatbot_handover_by_time", handovers.c.queued_at)

deliveries = Table(
    "chatbot_delivery",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("event", String(40), nullable=False),
    Column("sender", String(200), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(10), nullable=False),  # queued | sending | sent | dead
    Column("attempts", Integer, nullable=False),
    Column("next_try_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime),
    Column("last_error", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
)
Index("chatbot_delivery_due", deliveries.c.state, deliveries.c.next_try_at)
Index("chatbot_delivery_by_sender", deliveries.c.sender, deliveries.c.id)

feedback = Table(
    "chatbot_feedback",
    metadata,
    Column("message_id", Integer, ForeignKey("chatbot_message.id"), primary_key=True),
    Column("value", String(10), nullable=False),  # up | down
    Column("comment", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
)
Index("chatbot_feedback_by_time", feedback.c.at)

lessons = Table(
    "chatbot_lesson",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("bot", String(200), nullable=False),  # name of the model, without its version
    # The customer's; none where a person has typed the question in.
    Column("message_id", Integer, ForeignKey("chatbot_message.id"), unique=True),
    Column("kind", String(20), nullable=False),  # see learning/signals.py
    Column("question", Text, nullable=False),  # personal data masked
    # What the bot took it for.
    Column("intent", String(200)),
    Column("probability", Float),
    # While it is new what is proposed, then what a person has decided.
    Column("label", String(200)),
    Column("answer", Text, nullable=False),  # an agent's, as a template
    Column("answer_ids", JSON, nullable=False),
    Column("agent", String(100)),
    Column("handover_id", Integer, ForeignKey("chatbot_handover.id")),
    Column("confidence", Float, nullable=False),
    Column("must_pass", Boolean, nullable=False),
    Column("proposal", String(200), nullable=False),
    Column("proposal_title", Text, nullable=False),
    Column("state", String(10), nullable=False),  # new | accepted | rejected
    Column("decided_by", String(100)),
    Column("decided_at", UtcDateTime),
    Column("found_at", UtcDateTime, nullable=False),
)
Index("chatbot_lesson_by_state", lessons.c.bot, lessons.c.state, lessons.c.proposal)

taught_answers = Table(
    "chatbot_taught_answer",
    metadata,
    Column("bot", String(200), primary_key=True),
    Column("label", String(200), primary_key=True),
    Column("language", String(10), primary_key=True),
    Column("title", Text, nullable=False),
    Column("template", Text, nullable=False),
    Column("taught_by", String(100), nullable=False),
    Column("taught_at", UtcDateTime, nullable=False),
)

learning = Table(
    "chatbot_learning",
    metadata,
    Column("bot", String(200), primary_key=True),
    # Grows with each change of what is taught: who has read an older one reads again.
    Column("revision", Integer, nullable=False),
    Column("read_until", UtcDateTime),
)
