"""How a user's tables call their columns: groups of options that many commands share."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.options import (
    AnswerColumn,
    EventColumn,
    ItemColumn,
    LabelColumn,
    QuestionColumn,
    TextColumn,
    TimeColumn,
    TitleColumn,
    UserColumn,
    ValueColumn,
    mapping_of,
)


@dataclass(frozen=True)
class LabelledColumns:
    """How a table of labelled texts calls its columns: options of every command that reads one."""

    text_column: TextColumn = None
    label_column: LabelColumn = None

    @property
    def mapping(self) -> Mapping[str, str]:
        """As mapping_of gives it."""
        return mapping_of(text=self.text_column, label=self.label_column)


@dataclass(frozen=True)
class ExampleColumns(LabelledColumns):
    """The same of a bot's examples, which may be questions with their answers."""

    question_column: QuestionColumn = None
    answer_column: AnswerColumn = None

    @property
    def mapping(self) -> Mapping[str, str]:
        return {
            **super().mapping,
            **mapping_of(question=self.question_column, answer=self.answer_column),
        }


@dataclass(frozen=True)
class LogColumns:
    """How a log of behaviour calls its columns: options of every command that reads one."""

    user_column: UserColumn = None
    item_column: ItemColumn = None
    time_column: TimeColumn = None
    event_column: EventColumn = None
    value_column: ValueColumn = None

    @property
    def mapping(self) -> Mapping[str, str]:
        """As mapping_of gives it."""
        return mapping_of(
            user_id=self.user_column, item_id=self.item_column, timestamp=self.time_column,
            event=self.event_column, value=self.value_column,
        )  # fmt: skip


@dataclass(frozen=True)
class ShopColumns(LogColumns):
    """The same of a log and a catalogue."""

    title_column: TitleColumn = None

    @property
    def mapping(self) -> Mapping[str, str]:
        return {**super().mapping, **mapping_of(title=self.title_column)}
