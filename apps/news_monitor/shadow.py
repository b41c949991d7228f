"""A candidate in shadow: it labels the stories that the released model has labelled, and nothing
comes of it.

Its labels stand under its own version, and no baseline mixes two: what is judged and mailed stays
the released model's. It works between two rounds, for so many seconds, and gives way to the next;
what it cannot do then waits. One that fails is stopped, with its reason. A person starts and stops
it: what is wanted and how far it came are two notes, for the one is a command's and the other the
monitor's.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine, delete
from sqlalchemy.exc import DBAPIError

from apps.news_monitor.backlog import Backlog
from apps.news_monitor.following import Following, follow, read_again, unfollow
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.memos import forget, note, recall
from apps.news_monitor.predictions import ActiveModel, label_pending, register_model
from apps.news_monitor.tables import memo
from shared.errors import ModelError, ServiceError, TriptychError

WANTED, PROGRESS = "shadow", "shadow progress"
SECONDS = 20.0
"""Of labelling after a round, of which there is one a minute."""
BATCH = 16
"""Headlines between two looks at the clock: a quarter of a second with two encoders."""


@dataclass(frozen=True)
class Wanted:
    """model: NAME@VERSION, as the registry has it."""

    model: str
    since: datetime

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat)


@dataclass(frozen=True)
class Progress:
    """Of the shadow of a model that was started at `since`. model_id: of its labels, None
    before it was loaded. at: of its last run; labelled, seconds: of all runs; waiting: stories that
    the released model has labelled and it has not. problem: why it was stopped, "" else."""

    model: str
    since: datetime
    at: datetime
    model_id: int | None = None
    labelled: int = 0
    seconds: float = 0.0
    waiting: int = 0
    problem: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=datetime.isoformat, ensure_ascii=False)

    @property
    def line(self) -> str:
        """What a person should know after a run, "" for nothing."""
        if self.problem:
            return f"shadow {self.model} is stopped: {self.problem}"
        return f"shadow {self.model}: {self.waiting} stories wait for it" if self.waiting else ""


def start(connection: Connection, model: str, now: datetime) -> None:
    """Ask for a shadow, in place of any other."""
    note(connection, WANTED, Wanted(model, now).to_json())


def stop(connection: Connection) -> Wanted | None:
    """Ask for none; returns which there was. Its labels stay."""
    found = wanted(connection)
    forget(connection, WANTED)
    return found


def wanted(connection: Connection) -> Wanted | None:
    """What was asked for."""
    noted = recall(connection, WANTED)
    if noted is None:
        return None
    raw = json.loads(noted)
    return Wanted(raw["model"], datetime.fromisoformat(raw["since"]))


def progress(connection: Connection) -> Progress | None:
    """Of the shadow that ran last, whether it still does or not; None before any did."""
    noted = recall(connection, PROGRESS)
    if noted is None:
        return None
    raw = json.loads(noted)
    for name in ("since", "at"):
        raw[name] = datetime.fromisoformat(raw[name])
    return Progress(**raw)


class Shadow:
    """The running monitor's. load: the labeller of NAME@VERSION."""

    def __init__(
        self,
        engine: Engine,
        load: Callable[[str], LabelTexts],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._load = load
        self._clock = clock
        self._model: ActiveModel | None = None
        self._loaded = ""
        self._companies: tuple[Following, Following] | None = None

    def run(
        self,
        now: datetime,
        *,
        until: int,
        released: str,
        free: Callable[[], bool],
        companies: Following | None = None,
    ) -> Progress | None:
        """Label what waits, for SECONDS at most; None where no shadow is wanted.

        until: the last story that the released model, of the fingerprint `released`, has labelled.
        free: returns once no round is under way, False if that takes too long. companies: whom the
        released model looks for, and the candidate too.
        """
        with self._engine.begin() as connection:
            asked, before = wanted(connection), progress(connection)
        if asked is None:
            self._model, self._loaded, self._companies = None, "", None
            return None
        state = Progress(asked.model, asked.since, now)
        if before is not None and (before.model, before.since) == (asked.model, asked.since):
            state = replace(before, at=now)
        done, spent = 0, 0.0
        try:
            model = self._open(asked.model, released, now)
            state = replace(state, model_id=model.id)
            followed = self._follow(model, companies)
            with self._engine.begin() as connection:
                backlog = Backlog.of_shadow(connection, model.id, until, now)
            more = True
            while more and spent < SECONDS and free():
                begun = self._clock()
                step = label_pending(
                    self._engine, model, now=now, limit=BATCH, batch=BATCH, companies=followed,
                    backlog=backlog,
                )  # fmt: skip
                more = step > 0 or self._read_again(model, followed) > 0
                done, spent = done + step, spent + self._clock() - begun
            with self._engine.begin() as connection:
                waiting = backlog.count(connection)
        except (ServiceError, DBAPIError):
            raise  # no fault of the candidate's: it is tried again at its next time
        except Exception as error:  # whatever a candidate does, the rounds go on
            named = "" if isinstance(error, TriptychError) else f"{type(error).__name__}: "
            state = replace(state, problem=f"{named}{error}"[:500])
        else:
            state = replace(state, waiting=waiting, problem="")
        labelled, seconds = state.labelled + done, round(state.seconds + spent, 2)
        state = replace(state, labelled=labelled, seconds=seconds)
        with self._engine.begin() as connection:
            note(connection, PROGRESS, state.to_json())
            if state.problem:
                same = (memo.c.name == WANTED, memo.c.value == asked.to_json())
                connection.execute(delete(memo).where(*same))
        return state

    def _open(self, name: str, released: str, now: datetime) -> ActiveModel:
        """Raises ModelError for a shadow of what labels anyway."""
        if self._model is None or self._loaded != name:
            labeller = self._load(name)
            with self._engine.begin() as connection:
                self._model, self._loaded = register_model(connection, labeller, now), name
            self._companies = None
        if self._model.labeller.fingerprint == released:
            raise ModelError("it is the released model now, whose labels are counted")
        return self._model

    def _follow(self, model: ActiveModel, companies: Following | None) -> Following | None:
        """The same list, as the candidate reads by it.

        Raises SettingsError for a company that is called as a topic of the candidate.
        """
        if companies is None:
            with self._engine.begin() as connection:
                unfollow(connection, model.id)
            self._companies = None
            return None
        if self._companies is None or self._companies[0] is not companies:
            with self._engine.begin() as connection:
                own = follow(
                    connection, companies.listed, companies.finder, model.labeller, model.id
                )
            self._companies = companies, own
        return self._companies[1]

    def _read_again(self, model: ActiveModel, followed: Following | None) -> int:
        """Read a batch of what it labelled by another list of companies; how many are left."""
        if followed is None:
            return 0
        return read_again(
            self._engine, followed, model.labeller, model.id, limit=BATCH, batch=BATCH
        )
