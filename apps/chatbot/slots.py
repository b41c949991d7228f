"""Values of the types that every bot knows, in a customer's message."""

import re
from collections.abc import Mapping

# Name of the slot -> pattern whose first group is the value. Of two that match the same characters
# the first counts: a number in an address is no order, a date is no telephone number.
# Each reads a text of any kind in time that grows with its length: what may repeat is bounded, or
# begins in one place only. Between words there is a single space.
PATTERNS: Mapping[str, re.Pattern[str]] = {
    "email": re.compile(r"(?<![\w.+-])([\w.+-]+@[\w-]+\.[\w.-]*\w)"),
    "date": re.compile(
        r"(\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}月\d{1,2}[日号]"
        r"|\d{1,2}(?:st|nd|rd|th)?\s(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
        r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\s\d{1,2}(?:st|nd|rd|th)?)",
        re.IGNORECASE,
    ),
    "amount": re.compile(
        r"((?:[€$£¥]\s?\d[\d.,]*\d|[€$£¥]\s?\d"
        r"|(?<!\d)(?<!\d[.,])\d[\d.,]{0,20}\s?(?:€|dollars?|euros?|EUR|USD|GBP|元)))",
        re.IGNORECASE,
    ),
    "order_id": re.compile(
        r"(?:order|parcel|订单)\s*(?:number|no\.?|nr\.?|id|号)?\s*(?:is|was|是)?\s*[:#：]?\s*"
        r"((?=[A-Z\-]{0,5}\d)[A-Z]{0,4}-?\d[\d\-]{3,})"
        r"|(?<!\w)#?([A-Z]{1,4}-?\d{4,})(?!\w)",
        re.IGNORECASE,
    ),
    "customer_name": re.compile(
        r"(?:my name is|this is|I am|I'm|我叫)\s+([A-Z][a-zé\-]+)(?![a-z])"
    ),
    "phone": re.compile(r"(?<![\w-])(\+?\d[\d \-]{7,20}\d)(?!\w)"),
}


def typed_places(text: str) -> dict[str, tuple[int, int]]:
    """Slot name -> (start, end) of the first value in a text with single spaces between words, none
    of which share characters."""
    found: dict[str, tuple[int, int]] = {}
    for name, pattern in PATTERNS.items():
        if match := pattern.search(text):
            start, end = match.span(match.lastindex or 0)
            if all(end <= a or b <= start for a, b in found.values()):
                found[name] = (start, end)
    return found


def find_slots(text: str) -> dict[str, str]:
    """Slot name -> first value found in the message."""
    text = " ".join(text.split())
    return {name: text[start:end] for name, (start, end) in typed_places(text).items()}


def loose_order_id(text: str) -> str | None:
    """The number in a reply to a question for it: "it is 448812"."""
    match = re.search(r"(?<!\w)#?([A-Z]{0,4}-?\d{4,})(?!\w)", text, re.IGNORECASE)
    return match.group(1) if match else None
