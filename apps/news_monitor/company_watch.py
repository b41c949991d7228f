"""The running monitor's companies: their list as it stands in its file, and their own detector."""

from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from apps.news_monitor.companies import read_companies
from apps.news_monitor.company_names import CompanyFinder
from apps.news_monitor.detection import Detector
from apps.news_monitor.detection_report import DetectionReport
from apps.news_monitor.following import Following, follow, read_again, unfollow
from apps.news_monitor.predictions import ActiveModel
from apps.news_monitor.settings import NewsSettings
from shared.errors import DataError

READ_AGAIN_PER_TICK = 20_000


class CompanyWatch:
    """Of one model. Judges nothing while the settings name no list."""

    def __init__(self, engine: Engine, settings: NewsSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._following: Following | None = None
        self._stamp = (0, 0)
        self._detector: Detector | None = None

    @property
    def following(self) -> Following | None:
        """Whom is looked for; None before a list was read."""
        return self._following

    def read(self, model: ActiveModel, lines: list[str]) -> Following | None:
        """Whom to look for; the list is read anew when its file changes. One that cannot be read
        leaves the one before in force, and a line."""
        if not self._settings.companies:
            with self._engine.begin() as connection:
                unfollow(connection, model.id)
            return None
        path = Path(self._settings.companies)
        try:
            found = path.stat()
            stamp = (found.st_mtime_ns, found.st_size)
            if self._following is None or stamp != self._stamp:
                listed = read_companies(path)
                finder = CompanyFinder(listed)
                with self._engine.begin() as connection:
                    self._following = follow(connection, listed, finder, model.labeller, model.id)
                self._stamp, self._detector = stamp, None
        except (OSError, DataError) as error:
            why = f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)
            kept = "the list read before holds" if self._following else "no company is followed"
            lines.append(f"companies: {why}; {kept}")
        return self._following

    def begin_anew(self) -> None:
        """What is judged by has changed: look at the whole past again."""
        self._detector = None

    def judge(
        self, model: ActiveModel, until: datetime, now: datetime, lines: list[str]
    ) -> DetectionReport | None:
        """What the companies' detector found, None while there is nothing to judge."""
        if self._following is None:
            return None
        left = read_again(
            self._engine, self._following, model.labeller, model.id, limit=READ_AGAIN_PER_TICK
        )
        if left:
            lines.append(
                f"{left} older stories still to be read for companies; none is judged before that"
            )
            return None
        if self._detector is None:
            companies = self._following.followed
            self._detector = Detector(
                self._engine, model, self._settings, now=now, companies=companies
            )
        return self._detector.run(until, now=now)
