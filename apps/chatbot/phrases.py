"""What the bot says of its own accord, in the languages it speaks."""

import re
from dataclasses import dataclass

DEFAULT_LANGUAGE = "en"


@dataclass(frozen=True)
class Phrases:
    """The bot's own sentences in one language. `{…}` are filled by the code that uses them."""

    clarify: str
    none_of_these: str
    reject: str
    handover: str
    closed: str
    in_charge: str
    joined: str
    nobody_free: str
    returned: str
    ended: str
    ask_slot: str
    not_listed: str
    not_fitting: str
    no_answer: str
    empty: str
    weekdays: tuple[str, ...]


PHRASES = {
    "en": Phrases(
        clarify="I want to be sure I understand. Which of these do you mean?",
        none_of_these="None of these",
        reject="I am sorry, I cannot help with that. You can put it in other words, or ask me "
        "about one of the things I know.",
        handover="I am passing you on to a colleague, who will see everything you have written.",
        closed="My colleagues are not here at the moment. They are back on {day} at {clock} and "
        "will see everything you have written.",
        in_charge="A colleague has your message and will answer here.",
        joined="A colleague is with you now and will answer here.",
        nobody_free="I am sorry, no colleague could answer in time. You are talking to the "
        "assistant again: ask me, or ask for a person once more.",
        returned="You are talking to the assistant again. If something is still open, write it "
        "here, or ask for a person.",
        ended="This chat has ended. If you need anything else, just write.",
        ask_slot="I can help with that. Please tell me your {slot}.",
        not_listed="I do not know that {slot}. Is it one of these? You can also write it again.",
        not_fitting="That does not look like a {slot}. Please write it again.",
        no_answer="I understand that this is about: {title}. I have no answer to it yet, so I am "
        "passing you on to a colleague.",
        empty="Your message is empty. What can I do for you?",
        weekdays=(
            "Monday",
            "Tuesday",
            "Wednesday",
            "Thursday",
            "Friday",
            "Saturday",
            "Sunday",
        ),
    ),
    "zh": Phrases(
        clarify="我想确认一下您的意思，请问是下面哪一项？",
        none_of_these="都不是",
        reject="抱歉，这个问题我帮不上忙。您可以换一种说法，或者问我了解的其他问题。",
        handover="我现在为您转接人工客服，他会看到您之前发送的全部内容。",
        closed="人工客服现在不在线，{day}{clock}上班后会看到您发送的全部内容。",
        in_charge="人工客服已经收到您的消息，会在这里回复您。",
        joined="人工客服已接入，将在这里为您解答。",
        nobody_free="抱歉，人工客服没能及时回复。现在由智能助手为您服务：您可以直接提问，或再次要求转人工。",
        returned="现在由智能助手继续为您服务。如果还有问题，请直接留言，或要求转人工。",
        ended="本次对话已结束。如果还有需要，请随时留言。",
        ask_slot="好的，请告诉我您的{slot}。",
        not_listed="我不认识这个{slot}，是下面哪一项吗？您也可以重新输入。",
        not_fitting="这看起来不像{slot}，请重新输入。",
        no_answer="我明白您的问题是关于：{title}。我暂时没有答案，现在为您转接人工客服。",
        empty="您的消息是空的，请问有什么可以帮您？",
        weekdays=("周一", "周二", "周三", "周四", "周五", "周六", "周日"),
    ),
}

# Somebody who asks for a person gets one, whatever else a model makes of the message.
_WANTS_PERSON = re.compile(
    r"\b(speak|talk|chat|connect(ed)?|transfer(red)?|put me through|escalate)\b.{0,25}"
    r"\b(human|person|agent|representative|someone|somebody|operator|advisor|supervisor|manager)\b"
    r"|\b(real|live|actual)\s+(human|person|agent)\b"
    r"|^\W*(human|agent|operator|representative)\W*$"
    r"|转?人工(客服|服务)?|真人|找(个|一个)?客服",
    re.IGNORECASE,
)


def phrases_for(language: str) -> Phrases:
    """The sentences in `language`, in English where the bot does not speak it."""
    return PHRASES.get(language, PHRASES[DEFAULT_LANGUAGE])


def named(slot: str) -> str:
    """A slot as customers are asked for it."""
    return slot.replace("_", " ")


def wants_person(text: str) -> bool:
    """True when the message asks for a human in so many words."""
    return bool(_WANTS_PERSON.search(text))
