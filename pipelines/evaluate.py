"""`triptych evaluate`: a released model on somebody's labelled data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shared.evaluation.report import Report
from shared.registry import Registry
from shared.settings import Home


@dataclass(frozen=True)
class Evaluated:
    """The report and the page it was written to."""

    report: Report
    page: Path


def evaluator_of(app: str) -> Callable[..., Report]:
    """The application's own `evaluate`; the others' libraries stay unloaded."""
    if app == "chatbot":
        from apps.chatbot import recipe as chatbot

        return chatbot.evaluate
    if app == "news":
        from apps.news_monitor import recipe as news

        return news.evaluate
    from apps.recommender import recipe as recommender

    return recommender.evaluate


def evaluate_model(
    app: str,
    reference: str,
    input_file: Path,
    mapping: Mapping[str, str],
    home: Home,
    *,
    say: Callable[[str], None],
) -> Evaluated:
    """Measure model `reference` on `input_file` and write the report under the home's reports.

    Raises:
        ModelError: no such model, or one of another application. DataError: the input.
    """
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(reference, app=app)
    say(f"evaluating {version.name}@{version.version} on {input_file}")
    report = evaluator_of(app)(version.path, input_file, mapping, home, say=say)
    folder = home.reports / f"{version.name}-{version.version}-{input_file.name.split('.')[0]}"
    return Evaluated(report, report.write(folder))
