"""What a headline says of each company, where it names several."""

from collections.abc import Sequence

from apps.news_monitor.company_names import Mention

OTHER = "it"


def texts_about(text: str, mentions: Sequence[Mention]) -> dict[int, str]:
    """Company -> the headline as the model is asked about that one: the names of the others are
    masked. Empty where fewer than two companies are named: the headline's own label holds."""
    companies = sorted({mention.company for mention in mentions})
    if len(companies) < 2:
        return {}
    return {number: _masked(text, mentions, number) for number in companies}


def _masked(text: str, mentions: Sequence[Mention], kept: int) -> str:
    parts, place = [], 0
    for mention in mentions:
        if mention.company != kept:
            parts += [text[place : mention.start], OTHER]
            place = mention.end
    return "".join([*parts, text[place:]])
