"""Past support dialogues as an import sees them: who said what, in order, and how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["customer", "agent"]
LONGEST_TURN = 4_000  # characters read of one message; what is longer is a forwarded mail or a log

_CUSTOMERS = frozenset(
    "customer cust client user u c q question visitor contact guest caller buyer shopper member "
    "patient consumer requester enduser end-user end_user human incoming inbound "
    "客户 顾客 用户 买家 访客".split()
)
_AGENTS = frozenset(
    "agent a answer support operator op rep representative csr advisor adviser assistant staff "
    "employee helpdesk service bot chatbot admin team outgoing outbound support_agent agent_bot "
    "客服 坐席 人工 人工客服 商家 卖家 店家".split()
)
# Lines of the software itself: joined, left, assigned, …
_SYSTEM = frozenset("system sys note activity event info automation private internal 系统".split())

_GOOD_ENDS = frozenset("resolved solved closed done completed complete fixed true yes 1".split())
_BAD_ENDS = frozenset(
    "unresolved unsolved reopened escalated transferred handover handed_over abandoned false "
    "no 0".split()
)
_PASSED_ON = frozenset("escalated transferred handover handed_over".split())


@dataclass(frozen=True)
class Turn:
    """One message. number: its place among the dialogue's messages in the file, from 0."""

    role: Role
    text: str
    number: int


@dataclass(frozen=True)
class Dialogue:
    """One conversation of a customer with the firm.

    line: of its file, where it begins. resolved: what the record says of its end, None where it
    says nothing. transferred: somebody else went on with it.
    """

    id: str
    turns: tuple[Turn, ...]
    file: str
    line: int
    resolved: bool | None = None
    transferred: bool = False


@dataclass(frozen=True)
class TurnRow:
    """A message that stands alone in its file; messages of one dialogue need not be neighbours.

    time: seconds since 1970, None where the file gives none. status: what the row says of the
    dialogue's end, "" for nothing.
    """

    dialogue: str
    role: Role
    text: str
    line: int
    time: float | None = None
    status: str = ""


@dataclass(frozen=True)
class Speakers:
    """Which names in a file are customers and which are agents, beside the usual words.

    Where only one side is named, everybody unknown is of the other side.
    """

    customers: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()

    @classmethod
    def named(cls, customers: Sequence[str], agents: Sequence[str]) -> "Speakers":
        return cls(frozenset(map(_folded, customers)), frozenset(map(_folded, agents)))

    def role(self, name: str) -> Role | Literal["system"] | None:
        """The side that `name` speaks for; None when nothing tells."""
        folded = _folded(name)
        if folded in self.customers:
            return "customer"
        if folded in self.agents:
            return "agent"
        if folded in _SYSTEM:
            return "system"
        if folded in _CUSTOMERS:
            return "customer"
        if folded in _AGENTS:
            return "agent"
        if bool(self.customers) != bool(self.agents) and folded:
            return "agent" if self.customers else "customer"
        return None

    def unknown(self, name: str) -> str:
        """Why a row by this speaker cannot be used."""
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        return (
            f"speaker {shown!r} is neither customer nor agent; name it with --customer or --agent "
            "(with one side named, all others are the other side)"
        )


def ended(status: str) -> tuple[bool | None, bool]:
    """(resolved, transferred) by a status in words, as exports write it."""
    folded = _folded(status)
    if folded in _GOOD_ENDS:
        return True, False
    if folded in _BAD_ENDS:
        return False, folded in _PASSED_ON
    return None, False


def _folded(name: str) -> str:
    return name.strip().strip("[]()<>*#").strip().casefold()
