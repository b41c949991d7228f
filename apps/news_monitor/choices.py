"""Topics that readers and webhooks chose, held against what is judged: one that nothing is judged
by tells its reader nothing, and nobody would notice."""

import difflib
from collections.abc import Collection, Iterator
from datetime import date, datetime

from sqlalchemy import Engine, select

from apps.news_monitor.following import Following
from apps.news_monitor.predictions import KnownModel, followed_topics
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.tables import topic
from apps.news_monitor.telling import Choice
from apps.news_monitor.webhooks import place_of
from shared.errors import SettingsError


class Choices:
    """Those of the settings. The first look is at the start of a monitor, where a mistake is an
    error; a list of companies that changes later stops no running monitor."""

    def __init__(self, engine: Engine, settings: NewsSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._looked = False
        self._told: tuple[date, list[str]] | None = None

    def check(self, model: KnownModel, companies: Following | None, now: datetime) -> list[str]:
        """A line for each chosen name that is judged no longer, or not by these settings; when they
        change, and once a day.

        Raises SettingsError, at the first look, for one that never was a topic or a company.
        """
        settings = self._settings
        followed = {
            *followed_topics(settings.topics, model),
            *(companies.topics if companies else ()),
        }
        known = {name.casefold() for name in followed}
        left = [(who, name) for who, name in _chosen(settings) if name.casefold() not in known]
        if left and not self._looked and (companies or not settings.companies):
            stored = self._stored()
            for who, name in left:
                if name.casefold() not in stored:
                    raise SettingsError(_unknown(who, name, followed, model.labeller.name))
        self._looked = True
        lines = [
            f"{who}: {name!r} is not followed now; nothing is told of it" for who, name in left
        ]
        if self._told == (now.date(), lines):
            return []
        self._told = (now.date(), lines)
        return lines

    def _stored(self) -> set[str]:
        """All that was a topic or a company once, in this database."""
        with self._engine.begin() as connection:
            return {name.casefold() for name in connection.execute(select(topic.c.name)).scalars()}


def _chosen(settings: NewsSettings) -> Iterator[tuple[str, str]]:
    """(whose, name) of each choice."""
    choices: list[tuple[str, Choice]] = [
        (f"[[news.subscriptions]] {one.address}", one) for one in settings.subscriptions
    ]
    choices += [(f"[[news.webhooks]] {place_of(one.url)}", one) for one in settings.webhooks]
    for who, choice in choices:
        for name in choice.topics:
            yield who, name


def _unknown(who: str, name: str, followed: Collection[str], model: str) -> str:
    said = f"{who}: topics = {name!r} is no topic of model {model} and no company that is followed"
    near = _nearest(name, followed)
    if near:
        return f"{said}; did you mean {near!r}?"
    shown = sorted(followed)[:20]
    more = f" and {len(followed) - len(shown)} more" if len(followed) > len(shown) else ""
    return f"{said}; there are: {', '.join(shown)}{more}"


def _nearest(name: str, followed: Collection[str]) -> str:
    """What may be meant: a company by its name or its ticker alone, or a slip of the pen."""
    asked = name.casefold()
    for title in sorted(followed):
        company, bracket, ticker = title.casefold().removesuffix(")").rpartition(" (")
        if bracket and asked in (company, ticker):
            return title
    titles = {title.casefold(): title for title in followed}
    near = difflib.get_close_matches(asked, titles, n=1)
    return titles[near[0]] if near else ""
