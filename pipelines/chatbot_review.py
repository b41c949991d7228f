"""`triptych chatbot review …`: lessons of one bot, in the database of a home."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine

from apps.chatbot.learning.review import Proposal, proposed
from apps.chatbot.opening import opened_database
from shared.errors import DataError
from shared.registry import Registry
from shared.settings import Home


def lessons_of(
    home: Home, model: str, clock: Callable[[], datetime]
) -> tuple[Engine, str, tuple[Proposal, ...]]:
    """The database, the model's name, and what waits for a decision.

    Raises:
        ModelError: no such model. ServiceError: the database does not answer.
    """
    name = Registry(home.models, clock).resolve(model, app="chatbot").name
    engine = opened_database(home)
    return engine, name, proposed(engine, name)


def numbers_of(
    found: Sequence[Proposal], numbers: Sequence[int], names: Sequence[str]
) -> list[int]:
    """Numbers of lessons, with those of the proposals of these names.

    Raises DataError: no proposal of that name, or no open lesson of that number.
    """
    by_name = {each.name: [lesson.id for lesson in each.lessons] for each in found}
    for name in names:
        if name not in by_name:
            known = ", ".join(by_name) or "none"
            raise DataError(f"no proposal is called {name!r}; there are: {known}")
    still = {number for several in by_name.values() for number in several}
    if strangers := [number for number in numbers if number not in still]:
        raise DataError(
            f"lesson {strangers[0]} does not wait for a decision: `triptych chatbot review list` "
            "names those that do"
        )
    own = [number for name in names for number in by_name[name]]
    return list(dict.fromkeys([*numbers, *own]))
