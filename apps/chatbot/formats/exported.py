"""What was written for another tool."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Exported:
    """tool: that the files are for. notes: what is otherwise there than here, and what is not."""

    tool: str
    examples: int
    intents: int
    answers: int
    output: str
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return (
            f"{self.examples:,} examples of {self.intents:,} intents and {self.answers:,} answers "
            f"for {self.tool}: {self.output}"
            + (f" ({'; '.join(self.notes)})" if self.notes else "")
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "tool": self.tool, "examples": self.examples, "intents": self.intents,
            "answers": self.answers, "notes": list(self.notes), "output": self.output,
        }  # fmt: skip
