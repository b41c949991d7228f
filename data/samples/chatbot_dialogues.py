"""Dialogues of the chatbot sample: authored situations to conversations with consistent values."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from chatbot_questions import Lexicon, lines
from chatbot_wording import careless, misspell, some_day, some_email, some_name, some_phone

_ENGLISH_AGENTS = ("mara", "jonas", "priya", "wei")
_CHINESE_AGENTS = ("lan", "wei_zh")
_CHANNELS = ("chat",) * 5 + ("app",) * 2 + ("email",) * 2
_STREETS = ("Mill Lane", "Harbour Road", "Station Street", "Abbey Close", "Orchard Way", "Elm Row")
_NEIGHBOURS = ("Mrs Hallam", "Mr Petrov", "Ms Osei", "the Brennans", "Mr Yilmaz", "Mrs Tanaka")
_CHINESE_NAMES = (
    ("王芳", "Fang", "Wang"), ("李强", "Qiang", "Li"), ("陈静怡", "Jingyi", "Chen"),
    ("刘洋", "Yang", "Liu"), ("赵敏", "Min", "Zhao"), ("孙伟", "Wei", "Sun"),
)  # fmt: skip
# How often things happen; chosen by eye so that the dialogues read like a support log.
_HELLO_FIRST, _HOLDS, _FOLLOWS, _SECOND_QUESTION, _IN_TWO = 0.3, 0.5, 0.6, 0.16, 0.3


@dataclass(frozen=True)
class Flow:
    """A situation: how customers put it and how each agent answers.

    follow: (label or None, question, answer). needs: the fact the agent has to ask for.
    outcome: resolved, unresolved or transferred. leaves: the customer goes before the answer.
    """

    name: str
    label: str
    openings: tuple[str, ...]
    answers: Mapping[str, str]
    follow: tuple[tuple[str | None, str, str], ...]
    needs: str | None
    outcome: str
    team: str
    leaves: bool
    language: str


@dataclass(frozen=True)
class Turn:
    speaker: str
    text: str
    at: datetime


@dataclass(frozen=True)
class Dialogue:
    """marks: (index of the turn, "question" or "answer", label): what an importer should find."""

    channel: str
    language: str
    agent: str
    status: str
    turns: tuple[Turn, ...]
    marks: tuple[tuple[int, str, str], ...]


def read_flows(source: Mapping[str, Mapping[str, Any]], labels: set[str]) -> Iterator[Flow]:
    """The situations of a flows_*.yml.

    Raises:
        ValueError: an unknown label, or not one answer for each agent.
    """
    for name, entry in source.items():
        language = "zh" if name.startswith("zh_") else "en"
        agents = _CHINESE_AGENTS if language == "zh" else _ENGLISH_AGENTS
        answers = lines(entry["answer"])
        if entry["label"] not in labels or len(answers) != len(agents):
            raise ValueError(f"{name}: unknown label or not {len(agents)} answers")
        yield Flow(
            name=name,
            label=entry["label"],
            openings=lines(entry["open"]),
            answers=dict(zip(agents, answers, strict=True)),
            follow=tuple(_follow_up(line, labels) for line in lines(entry.get("follow", ""))),
            needs=entry.get("needs"),
            outcome=entry.get("outcome", "resolved"),
            team=entry.get("team", ""),
            leaves=entry.get("leaves", False),
            language=language,
        )


def _follow_up(line: str, labels: set[str]) -> tuple[str | None, str, str]:
    question, answer = (part.strip() for part in line.split(" | "))
    head, _, rest = question.partition(": ")
    return (head, rest, answer) if head in labels else (None, question, answer)


def make_dialogues(
    flows: Sequence[Flow], agents: Mapping[str, Any], lexicon: Lexicon, seed: int
) -> list[Dialogue]:
    """One dialogue for each opening of each flow, in order of time."""
    dialogues = []
    for flow in flows:
        rng = random.Random(f"{seed}/dialogues/{flow.name}")
        crew = rng.sample(sorted(flow.answers), len(flow.answers))
        seconds = [f for f in flows if f.language == flow.language and _can_follow(f, flow)]
        for number, opening in enumerate(flow.openings):
            agent = crew[number % len(crew)]
            script = _Script(flow, opening, agent, seconds, agents, lexicon, rng)
            dialogues.append(script.play())
    return sorted(dialogues, key=lambda dialogue: dialogue.turns[0].at)


def _can_follow(second: Flow, first: Flow) -> bool:
    """A further question that any customer may have after the first one."""
    return second.outcome == "resolved" and second.needs is None and second.label != first.label


def make_case(rng: random.Random, lexicon: Lexicon, language: str, today: date) -> dict[str, str]:
    """The facts of one dialogue, the same in all its turns."""
    words = {**lexicon["slots"], **(lexicon["slots_zh"] if language == "zh" else {})}
    item, item2 = rng.sample(words["item"], 2)
    first, last = some_name(rng)
    shown = f"{first} {last}"
    if language == "zh":
        shown, first, last = rng.choice(_CHINESE_NAMES)
    price = rng.randint(12, 140) + 0.9
    days = {"ordered": -rng.randint(8, 14), "promised": -rng.randint(1, 4), "today": 0,
            "soon": rng.randint(2, 5)}  # fmt: skip
    return {
        **{name: _written(today + timedelta(days=shift), language) for name, shift in days.items()},
        "item": item, "item2": item2, "tea": rng.choice(words["tea"]),
        "city": rng.choice(words["city"]), "country": rng.choice(words["country"]),
        "carrier": rng.choice(words["carrier"]), "code": rng.choice(words["code"]),
        "order": f"TT-{rng.randint(310000, 699999)}", "ticket": f"C-{rng.randint(20000, 79999)}",
        "tracking": f"SP{rng.randint(10**8, 10**9 - 1)}", "last4": str(rng.randint(1001, 9998)),
        "amount": f"£{price:.2f}", "amount2": f"£{price * 0.9:.2f}",
        "small": f"£{rng.randint(5, 18)}.{rng.choice(('00', '50', '90'))}",
        "leaves": str(int(price)), "name": shown, "first": first if language == "en" else shown,
        "email": some_email(rng, first, last), "phone": some_phone(rng),
        "street": rng.choice(_STREETS), "number": str(rng.randint(2, 98)),
        "neighbour": rng.choice(_NEIGHBOURS),
    }  # fmt: skip


def _written(day: date, language: str) -> str:
    return f"{day.month}月{day.day}日" if language == "zh" else f"{day.day} {day:%B}"


@dataclass
class _Script:
    """One conversation while it is being played; every step appends turns and moves the clock."""

    flow: Flow
    opening: str
    agent: str
    seconds: Sequence[Flow]
    agents: Mapping[str, Any]
    lexicon: Lexicon
    rng: random.Random
    turns: list[Turn] = field(default_factory=list)
    marks: list[tuple[int, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        day = some_day(self.rng)
        day += timedelta(days=day.weekday() == 6)  # nobody answers on Sundays
        self.clock = datetime(day.year, day.month, day.day, 8) + timedelta(
            seconds=self.rng.randrange(9 * 3600 if day.weekday() < 5 else 4 * 3600)
        )
        self.case = make_case(self.rng, self.lexicon, self.flow.language, day)
        zh = self.flow.language == "zh"
        self.voice = self.agents[self.agent]
        self.customer = self.agents["customer_zh" if zh else "customer"]
        self.email = not zh and not self.flow.leaves and self.rng.choice(_CHANNELS) == "email"
        self.channel = "email" if self.email else self.rng.choice(("chat", "chat", "app"))
        self.habit = self.rng.choice(("tidy", "tidy", "tidy", "careless", "careless", "hasty"))
        full_name: str = self.voice["full_name"]
        self.case["agent"] = full_name if zh else full_name.split()[0]
        colleagues = [n for n in self.lexicon["slots"]["name"] if n != self.case["agent"]]
        self.case["colleague"] = self.rng.choice(colleagues)
        self.case["team"] = self.flow.team

    def play(self) -> Dialogue:
        self.start()
        if self.flow.leaves:
            self.agent_says(self.rng.choice(self.voice["ask_order"]))
            self.agent_says(self.rng.choice(self.voice["bye"]), wait=(900, 1500))
        else:
            self.ask_for_fact()
            self.answer(self.flow)
            if self.flow.outcome == "resolved":
                self.follow_up()
            self.close()
        status = self.flow.outcome
        agent = self.agent.removesuffix("_zh")
        turns, marks = tuple(self.turns), tuple(self.marks)
        return Dialogue(self.channel, self.flow.language, agent, status, turns, marks)

    def start(self) -> None:
        greet = self.rng.choice(self.voice["greet"])
        if self.email:
            self.customer_says(self.opening, question=self.flow.label, letter=True)
            return
        if self.rng.random() < _HELLO_FIRST:
            self.customer_says(self.rng.choice(self.customer["hello"]))
            self.agent_says(greet)
            self.customer_says(self.opening, question=self.flow.label)
            return
        self.customer_says(self.opening, question=self.flow.label)
        self.agent_says(greet)
        if self.rng.random() < 0.15:
            self.customer_says(self.rng.choice(self.customer["reply"]))

    def ask_for_fact(self) -> None:
        """The agent asks for what the case needs, unless the customer has said it."""
        needs = self.flow.needs
        if needs is None or "{" + needs + "}" in self.opening:
            return
        self.agent_says(self.rng.choice(self.voice[f"ask_{needs}"]), letter=self.email)
        self.customer_says(self.rng.choice(self.customer[f"give_{needs}"]), letter=self.email)

    def answer(self, flow: Flow) -> None:
        if not self.email and self.rng.random() < _HOLDS:
            self.agent_says(self.rng.choice(self.voice["hold"]))
            if self.rng.random() < 0.4:
                self.customer_says(self.rng.choice(self.customer["wait"]))
        text = flow.answers[self.agent]
        if flow.outcome != "resolved" and self.rng.random() < 0.5:
            text = f"{self.rng.choice(self.voice['sorry'])} {text}"
        parts = [text]
        if not self.email and self.rng.random() < _IN_TWO and ". " in text[:-1]:
            head, _, tail = text.partition(". ")
            parts = [f"{head}.", tail]
        for part in parts:
            self.agent_says(part, wait=(40, 300), answers=flow.label, letter=self.email)

    def follow_up(self) -> None:
        if self.flow.follow and self.rng.random() < _FOLLOWS:
            label, question, answer = self.rng.choice(self.flow.follow)
            self.customer_says(question, question=label, letter=self.email)
            self.agent_says(answer, answers=label, letter=self.email)
        if self.seconds and not self.email and self.rng.random() < _SECOND_QUESTION:
            second = self.rng.choice(self.seconds)
            asked = self.rng.choice(self.customer["next_question"])
            asked += self.rng.choice(second.openings)
            self.customer_says(asked, question=second.label)
            self.answer(second)

    def close(self) -> None:
        say = self.rng.choice
        if self.flow.outcome == "transferred":
            self.agent_says(say(self.voice["transfer"]), letter=self.email)
            self.customer_says(say(self.customer["transferred"]))
            return
        if self.flow.outcome == "unresolved":
            self.customer_says(say(self.customer["unhappy"]))
            if self.rng.random() < 0.5:
                self.agent_says(say(self.voice["sorry"]), letter=self.email)
            return
        if self.rng.random() < 0.85:
            self.customer_says(say(self.customer["thanks"]))
        if self.email:
            return
        if self.rng.random() < 0.5:
            self.agent_says(say(self.voice["more"]))
            self.customer_says(say(self.customer["no_more"]))
        self.agent_says(say(self.voice["bye"]))

    def customer_says(self, text: str, question: str | None = None, letter: bool = False) -> None:
        if self.habit == "careless" and not letter:
            text = careless(text) + ("?" if text.endswith("?") and self.rng.random() < 0.5 else "")
        elif self.habit == "hasty" and self.rng.random() < 0.5:
            text = misspell(text, self.rng, every=40, most=2)
        if letter:
            opening = self.rng.choice(("Dear team,", "Hello,", "Good day,", "Hi,"))
            closing = self.rng.choice(("Kind regards", "Best wishes", "Thanks", "Regards"))
            text = f"{opening}\n\n{text}\n\n{closing}\n{{name}}"
        self._add("customer", text, (10, 90), ("question", question))

    def agent_says(
        self,
        text: str,
        wait: tuple[int, int] = (15, 120),
        answers: str | None = None,
        letter: bool = False,
    ) -> None:
        if letter:
            full_name = self.voice["full_name"]
            text = f"Dear {{first}},\n\n{text}\n\nKind regards\n{full_name}, Tern & Thistle"
        self._add("agent", text, wait, ("answer", answers))

    def _add(
        self, speaker: str, text: str, wait: tuple[int, int], mark: tuple[str, str | None]
    ) -> None:
        if self.turns:
            slower = 60 if self.email else 1  # letters are answered in hours
            low, high = wait
            self.clock += timedelta(seconds=self.rng.randint(low * slower, high * slower))
        role, label = mark
        if label is not None:
            self.marks.append((len(self.turns), role, label))
        self.turns.append(Turn(speaker, text.format_map(self.case), self.clock))
