"""Values in a customer's message that an answer template can use."""

import re
from collections.abc import Mapping

# Name of the slot -> pattern whose first group is the value. Order matters only inside one name.
# Each reads a text of any kind in time that grows with its length: what may repeat is bounded, or
# begins in one place only. Between words there is a single space.
PATTERNS: Mapping[str, re.Pattern[str]] = {
    "order_id": re.compile(
        r"(?:order|parcel|订单)\s*(?:number|no\.?|nr\.?|id|号)?\s*(?:is|was|是)?\s*[:#：]?\s*"
        r"((?=[A-Z\-]{0,5}\d)[A-Z]{0,4}-?\d[\d\-]{3,})"
        r"|(?<!\w)#?([A-Z]{1,4}-?\d{4,})(?!\w)",
        re.IGNORECASE,
    ),
    "email": re.compile(r"(?<![\w.+-])([\w.+-]+@[\w-]+\.[\w.-]*\w)"),
    "amount": re.compile(
        r"((?:[€$£¥]\s?\d[\d.,]*\d|[€$£¥]\s?\d"
        r"|(?<!\d)(?<!\d[.,])\d[\d.,]{0,20}\s?(?:€|dollars?|euros?|EUR|USD|GBP|元)))",
        re.IGNORECASE,
    ),
    "date": re.compile(
        r"(\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{1,2}月\d{1,2}[日号]"
        r"|\d{1,2}(?:st|nd|rd|th)?\s(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
        r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\s\d{1,2}(?:st|nd|rd|th)?)",
        re.IGNORECASE,
    ),
    "customer_name": re.compile(
        r"(?:my name is|this is|I am|I'm|我叫)\s+([A-Z][a-zé\-]+)(?![a-z])"
    ),
    "phone": re.compile(r"(?<![\w-])(\+?\d[\d \-]{7,20}\d)(?!\w)"),
}


def find_slots(text: str) -> dict[str, str]:
    """Slot name -> first value found in the message."""
    text = " ".join(text.split())
    found = {}
    for name, pattern in PATTERNS.items():
        if match := pattern.search(text):
            found[name] = next(group for group in match.groups() if group)
    return found


def fill_asked_slot(name: str, text: str) -> str | None:
    """The value in a reply to "please tell me your NAME", None when there is none in it.

    A slot with a pattern must match it, loosely for numbers ("it is 448812"); any other slot takes
    a short reply as it is.
    """
    if name == "order_id" and (
        match := re.search(r"(?<!\w)#?([A-Z]{0,4}-?\d{4,})(?!\w)", text, re.I)
    ):
        return match.group(1)
    if name in PATTERNS and name != "customer_name":
        return find_slots(text).get(name)
    value = find_slots(text).get(name) or text.strip().rstrip(".!")
    return value if 0 < len(value) <= 60 else None
