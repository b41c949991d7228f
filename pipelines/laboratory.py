"""`triptych news laboratory`: a stored period under two configurations, each said in one option."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from apps.news_monitor.alert_difference import Difference, difference
from apps.news_monitor.bucket_counts import at_hour
from apps.news_monitor.company_data import has_companies
from apps.news_monitor.laboratory import StoredModel, Tried, stored_models, try_out
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from pipelines.monitoring import NOTHING_JUDGED, judged, judged_url, news_settings
from shared.errors import DataError, SettingsError
from shared.settings import Home

BUDGETS = ("false_alarms_per_week", "company_false_alarms_per_week")
MODEL, TOPICS = "model", "topics"
ALLOWED = (*BUDGETS, MODEL, TOPICS, *SurgeSettings.model_fields)


@dataclass(frozen=True)
class Compared:
    """What the two would have told, and in what they differ."""

    a: Tried
    b: Tried
    found: Difference


def varied(settings: NewsSettings, said: str) -> tuple[NewsSettings, str | None]:
    """The settings changed as one option says, and the model it names.

    said: such as "false_alarms_per_week=3,min_negative=6,windows_hours=24|72"; "" changes nothing.

    Raises SettingsError: an unknown name, or a value that is not allowed for it.
    """
    values: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in said.split(","))):
        name, equals, value = part.partition("=")
        if not equals or name.strip() not in ALLOWED:
            raise SettingsError(f"{part!r}: expected NAME=VALUE; names are {', '.join(ALLOWED)}")
        values[name.strip()] = value.strip()
    model = values.pop(MODEL, None)
    lists: dict[str, Any] = {
        name: tuple(one.strip() for one in values[name].split("|"))
        for name in (TOPICS, "windows_hours")
        if name in values
    }
    changes: dict[str, Any] = {**values, **lists}
    outer = {name: changes.pop(name) for name in (*BUDGETS, TOPICS) if name in changes}
    surges = {**settings.surges.model_dump(), **_numbers(changes)}
    try:
        changed = NewsSettings.model_validate(
            {**settings.model_dump(), **outer, "surges": SurgeSettings.model_validate(surges)}
        )
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "the settings"
        raise SettingsError(f"{said!r}: {name}: {first['msg']}") from None
    return changed, model


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    """Whole numbers as such: a choice among numbers takes no text."""
    return {
        name: int(value) if isinstance(value, str) and value.isdecimal() else value
        for name, value in values.items()
    }


def compare_configurations(
    home: Home,
    first: str,
    second: str,
    *,
    since: datetime | None,
    until: datetime | None,
    replayed: Path | None,
    companies: bool,
    say: Callable[[str], None],
) -> Compared:
    """Judge the stored period under both. since: 28 days before `until` by default; until: the end
    of what is stored. companies: judge them too.

    Raises: DataError: nothing stored, or a period of which nothing is, or no companies are.
    SettingsError: see `varied`, or a model whose labels are not stored.
    """
    with judged(home, replayed) as connection:
        models = stored_models(connection) if has_companies(connection) else []
    if not models:
        raise NOTHING_JUDGED
    settings = news_settings()
    until = until or at_hour(max(model.last_hour for model in models) + 1)
    since = since or until - timedelta(days=28)
    first_hour = at_hour(min(model.first_hour for model in models))
    if until <= first_hour:
        raise DataError(f"nothing is stored before {first_hour:%Y-%m-%d}")
    done = []
    for name, said in zip("AB", (first, second), strict=True):
        changed, wanted = varied(settings, said)
        model = _model(models, wanted)
        url = judged_url(home, replayed)
        tried = try_out(url, changed, model, since=since, until=until, companies=companies)
        say(
            f"{name}: {said or 'the settings as they are'}; model {model.name}, {tried.line}, "
            f"{len(tried.alerts)} alerts"
        )
        done.append(tried)
    return Compared(done[0], done[1], difference(done[0].alerts, done[1].alerts))


def _model(models: Sequence[StoredModel], wanted: str | None) -> StoredModel:
    if wanted is None:
        return models[0]
    for model in models:
        if wanted == model.name:
            return model
    raise SettingsError(
        f"no labels of model {wanted!r} are stored; there are those of "
        f"{', '.join(model.name for model in models)}; `triptych news replay` labels a file anew"
    )
