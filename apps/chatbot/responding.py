"""What is said to one message in a given state, and the state after it. Knows no database."""

from collections.abc import Sequence
from dataclasses import replace

from apps.chatbot.bot import Bot, Reply
from apps.chatbot.entities.spans import joined
from apps.chatbot.messages import storable
from apps.chatbot.options import CHOSEN, NO_ANSWER, NO_VALUE, NONE_OF_THESE, buttons_of, chosen_of
from apps.chatbot.phrases import named, phrases_for
from apps.chatbot.turns import Limits, State, Turn
from apps.chatbot.understanding import LONGEST_REQUEST, understood
from shared.text import detect_language

RANKED = 5  # intents kept with each message


class Responses:
    """Of one bot. limits: of questions back and refusals."""

    def __init__(self, bot: Bot, limits: Limits) -> None:
        self._bot = bot
        self._limits = limits

    def to(self, text: str, state: State) -> tuple[Turn, State]:
        """The turn, with what `then` follows, and what is remembered of it."""
        language = detect_language(text)
        if state.offered and (chosen := chosen_of(text, state.offered, language)):
            return self._choose(chosen, state, language)
        if state.pending and (value := self._bot.entities.fill(state.pending[1], text)):
            return self._fill(state.pending, value, state, language)
        # After an open question a short message belongs to that.
        before = "" if state.offered or state.pending else state.asked
        replies = understood(self._bot, text, state.slots, before)
        completed = len(replies) == 1 and replies[0].text != text
        slots = joined(state.slots, self._bot.entities.find(text))
        if state.pending and self._fits_no_value(replies, state.pending):
            return self._offer_values(replies[0], state.pending, replace(state, slots=slots))
        state = replace(state, slots=slots, offered=(), pending=None, asked="", waiting=())
        turns, state = self._each(replies, state)
        turns = [
            replace(turn, read=reply.text) if (reply := turn.reply) and reply.text != text else turn
            for turn in turns
        ]
        if turns[-1].decision in ("answer", "clarify"):
            # What completes a request makes none: the next may stand in its place.
            asked = before if completed else turns[-1].read or text
            state = replace(state, asked=storable(asked) if len(asked) <= LONGEST_REQUEST else "")
        return replace(turns[0], then=tuple(turns[1:])), state

    def _each(self, replies: Sequence[Reply], state: State) -> tuple[list[Turn], State]:
        """What is settled comes first, in order: the customer's next words belong to the last."""
        *matters, last = replies
        if matters and last.decision == "handover":
            matter = next((each for each in matters if each.decision == "answer"), matters[0])
            turn, state = self._hand_over_unsettled(matter, state, last.why)
            return [turn], state
        settled = [reply for reply in replies if _place(reply) == 0]
        unsettled = sorted((reply for reply in replies if _place(reply)), key=_place)
        turns = []
        for reply in (*settled, *unsettled[:1]):
            turn, state = self._one(reply, state)
            turns.append(turn)
        if turns[-1].decision != "handover":
            state = replace(state, waiting=tuple(reply.intent for reply in unsettled[1:]))
        return turns, state

    def _one(self, reply: Reply, state: State) -> tuple[Turn, State]:
        if reply.decision == "reject":
            return self._refuse(reply, state)
        if reply.decision == "clarify":
            return self._clarify(reply, state)
        if reply.passed_on:
            return self._hand_over(_turn(reply), state, NO_ANSWER)
        if reply.decision == "handover":
            return self._hand_over(_turn(reply), state, reply.why)
        state = replace(state, clarifications=0, refusals=0)
        if reply.missing_slot:
            state = replace(state, pending=(reply.intent, reply.missing_slot))
        return _turn(reply), state

    def _fill(
        self, pending: tuple[str, str], value: str, state: State, language: str
    ) -> tuple[Turn, State]:
        """The slot that was asked for has come: the answer that needs it goes on."""
        label, slot = pending
        return self._answer(label, replace(state, slots={**state.slots, slot: value}), language)

    def _fits_no_value(self, replies: Sequence[Reply], pending: tuple[str, str]) -> bool:
        """Whether a reply to the question for a listed slot is no value of it, and no question of
        its own either."""
        label, slot = pending
        another = any(
            reply.decision == "handover" or (reply.decision == "answer" and reply.intent != label)
            for reply in replies
        )
        return self._bot.entities.is_listed(slot) and not another

    def _offer_values(
        self, reply: Reply, pending: tuple[str, str], state: State
    ) -> tuple[Turn, State]:
        """Ask for the slot again: no choice among intents, and so no question back of its own."""
        label, slot = pending
        phrases = phrases_for(reply.language)
        turn = Turn(phrases.handover, "handover", label, None, why=NO_VALUE)
        if state.clarifications >= self._limits.clarifications:
            return self._hand_over(turn, state, NO_VALUE)
        values = tuple((each, each) for each in self._bot.entities.lists.nearest(slot, reply.text))
        asked = phrases.not_listed if values else phrases.not_fitting
        turn = replace(turn, text=asked.format(slot=named(slot)), decision="answer", buttons=values)
        return turn, replace(state, offered=values, clarifications=state.clarifications + 1)

    def _choose(self, label: str, state: State, language: str) -> tuple[Turn, State]:
        if state.pending and label != NONE_OF_THESE:
            return self._fill(state.pending, label, state, language)
        if label != NONE_OF_THESE:
            return self._answer(label, state, language)
        phrases = phrases_for(language)
        state = replace(state, offered=(), asked="")
        why = "the customer means none of the offered intents"
        if state.refusals + 1 >= self._limits.refusals:
            turn = Turn(phrases.handover, "handover", None, None)
            return self._hand_over(turn, state, why)
        turn = Turn(phrases.reject, "reject", None, None, why=why)
        return self._go_on(turn, replace(state, refusals=state.refusals + 1), language)

    def _answer(self, label: str, state: State, language: str) -> tuple[Turn, State]:
        """An intent the customer has confirmed, or whose slot has come."""
        spoken = self._bot.say(label, language, state.slots)
        after = State(slots=state.slots, asked=state.asked, waiting=state.waiting)
        turn = Turn(spoken.text, "answer", label, None, why=CHOSEN)
        if spoken.passed_on:
            return self._hand_over(turn, state, NO_ANSWER)
        if spoken.missing_slot:
            return turn, replace(after, pending=(label, spoken.missing_slot))
        return self._go_on(turn, after, language)

    def _go_on(self, turn: Turn, state: State, language: str) -> tuple[Turn, State]:
        """What waited until this was settled is said next."""
        if not state.waiting:
            return turn, state
        label, *waiting = state.waiting
        more, state = self._answer(label, replace(state, waiting=tuple(waiting)), language)
        return replace(turn, then=(replace(more, then=()), *more.then)), state

    def _clarify(self, reply: Reply, state: State) -> tuple[Turn, State]:
        if state.clarifications >= self._limits.clarifications:
            asked = f"{state.clarifications} questions back in a row did not settle it"
            return self._hand_over_unsettled(reply, state, f"{asked}; {reply.why}")
        none = phrases_for(reply.language).none_of_these
        offered = tuple((option.label, option.title) for option in reply.options)
        buttons = (*buttons_of(reply.options), (none, f"/{NONE_OF_THESE}"))
        after = replace(
            state,
            offered=(*offered, (NONE_OF_THESE, none)),
            clarifications=state.clarifications + 1,
        )
        return replace(_turn(reply), buttons=buttons), after

    def _refuse(self, reply: Reply, state: State) -> tuple[Turn, State]:
        if state.refusals + 1 >= self._limits.refusals:
            refused = f"{state.refusals + 1} messages in a row were not understood"
            return self._hand_over_unsettled(reply, state, f"{refused}; {reply.why}")
        return _turn(reply), replace(state, refusals=state.refusals + 1)

    def _hand_over_unsettled(self, reply: Reply, state: State, why: str) -> tuple[Turn, State]:
        text = phrases_for(reply.language).handover
        return self._hand_over(replace(_turn(reply), text=text), state, why)

    def _hand_over(self, turn: Turn, state: State, why: str) -> tuple[Turn, State]:
        """A person takes over; what is known of the customer stays known."""
        return replace(turn, decision="handover", why=why), State(slots=state.slots)


def _place(reply: Reply) -> int:
    """0 where it needs nothing more; else the order of what is still open: handed over, asked
    back, a slot asked for."""
    if reply.decision == "answer" and not reply.passed_on:
        return 3 if reply.missing_slot else 0
    return 2 if reply.decision == "clarify" else 1


def _turn(reply: Reply) -> Turn:
    return Turn(
        reply.message, reply.decision, reply.intent, reply.probability, reply=reply, why=reply.why,
        scorers=reply.scorers, ranking=reply.ranking[:RANKED],
    )  # fmt: skip
