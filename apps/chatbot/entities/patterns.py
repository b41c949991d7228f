"""Regular expressions that a firm gives for its values, matched in time linear in the text.

They are matched by RE2, which pyarrow brings along, and not by Python's `re`: no expression makes
it try again and again, so nothing need be guessed about which are dangerous. Look-around and
back-references, which cannot be matched so, are refused.
"""

from collections.abc import Iterator

import pyarrow
import pyarrow.compute

from shared.errors import DataError

LONGEST_PATTERN = 300  # characters
MOST_FOUND = 5  # of one pattern in one message


class ValuePattern:
    """One regular expression, whatever the case. Raises DataError for one that cannot be used."""

    def __init__(self, written: str) -> None:
        self._pattern = f"(?i)(?:{written})"
        if len(written) > LONGEST_PATTERN:
            raise DataError(
                f"has {len(written):,} characters; at most {LONGEST_PATTERN} are matched"
            )
        try:
            empty = _split("", self._pattern) is not None
        except pyarrow.ArrowInvalid as error:
            reason = str(error).removeprefix("Invalid regular expression: ")
            raise DataError(
                f"cannot be matched in linear time ({reason}); write it without look-around and "
                "back-references"
            ) from None
        if empty:
            raise DataError("matches an empty text: it would be found everywhere")

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """(start, end) of what it matches, from left to right, none within a word or a number."""
        at = 0
        for _ in range(MOST_FOUND):
            found = _split(text[at:], self._pattern)
            if found is None:
                return
            start, end = at + len(found[0]), len(text) - len(found[1])
            at = max(end, at + 1)
            if start < end and not (_within(text, start) or _within(text, end)):
                yield start, end


def _split(text: str, pattern: str) -> list[str] | None:
    """What stands before and behind the first match, None where there is none."""
    parts: list[str] = pyarrow.compute.split_pattern_regex(
        pyarrow.scalar(text), pattern=pattern, max_splits=1
    ).as_py()
    return parts if len(parts) == 2 else None


def _within(text: str, at: int) -> bool:
    """Whether the place parts a word or a number of Latin script."""
    pair = text[max(0, at - 1) : at + 1]
    return len(pair) == 2 and pair.isascii() and pair.isalnum()
