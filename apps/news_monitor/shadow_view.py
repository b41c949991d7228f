"""How a shadow stands, for the command and the page; no model is loaded for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from apps.news_monitor.bucket_counts import at_hour, first_bucket_hour
from apps.news_monitor.laboratory import StoredModel, stored_models
from apps.news_monitor.mail import in_words
from apps.news_monitor.page_data import Detector, last_detector
from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.shadow import Progress, Wanted, progress, wanted
from apps.news_monitor.shadow_difference import LabelDifference, TopicPair, label_difference

COMPANIES = 20
"""That a terminal is shown; the page has all."""


@dataclass(frozen=True)
class ShadowView:
    """wanted: None once it is stopped. released, candidate: models whose labels are stored; since:
    from when the candidate's counts are whole; needed: the past without which it cannot judge."""

    wanted: Wanted | None
    progress: Progress | None
    judging: Detector | None
    candidate: StoredModel | None
    released: StoredModel | None
    since: datetime | None
    needed: timedelta

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """What can be judged under both models; None while the candidate's past is too short."""
        if self.since is None or self.judging is None or self.released is None:
            return None
        begin = self.since + self.needed
        return (begin, self.judging.until) if begin < self.judging.until else None

    @property
    def companies(self) -> bool:
        """Whether the stories of both models were read for companies, so that these can be judged
        as well."""
        pair = self.released, self.candidate
        return all(model is not None and model.companies is not None for model in pair)


def shadow_view(connection: Connection, settings: NewsSettings) -> ShadowView:
    """Of the shadow that is wanted, or of the last one."""
    asked, state, judging = wanted(connection), progress(connection), last_detector(connection)
    if asked is not None and state is not None and state.model != asked.model:
        state = None
    number = None if state is None else state.model_id
    if judging is not None and number == judging.model_id:
        number = None  # it was promoted: there is nothing to hold it against
    models = {model.id: model for model in stored_models(connection)}
    first = None if number is None else first_bucket_hour(connection, number)
    return ShadowView(
        asked,
        state,
        judging,
        models.get(number) if number is not None else None,
        None if judging is None else models.get(judging.model_id),
        None if first is None else at_hour(first),
        settings.surges.rule.needed,
    )


def difference_of(connection: Connection, view: ShadowView) -> LabelDifference | None:
    """None while there are not labels of both."""
    if view.candidate is None or view.judging is None:
        return None
    return label_difference(connection, view.judging.model_id, view.candidate.id)


def view_lines(view: ShadowView) -> Iterator[str]:
    """Where it stands, and what a promotion would mean now."""
    asked, state = view.wanted, view.progress
    if asked is None and state is None:
        yield "no model has run in shadow: `triptych news shadow start NAME@VERSION`"
        return
    if asked is not None:
        yield f"{asked.model} in shadow since {in_words(asked.since)}"
    elif state is not None:
        yield f"no shadow runs; the last was {state.model}, since {in_words(state.since)}"
    if state is None:
        yield "it begins after the next round of `triptych news run`, or of `news once`"
        return
    yield (
        f"{state.labelled} stories labelled in {state.seconds:.0f} s, {state.waiting} wait; "
        f"last at {in_words(state.at)}"
    )
    if state.problem:
        yield f"stopped: {state.problem}"
    if view.since is not None and view.judging is not None:
        past = max((view.judging.until - view.since) // timedelta(days=1), 0)
        least = view.needed // timedelta(days=1)
        yield f"whole from {in_words(view.since)} on: {past} days, {least} are needed. " + (
            "Promoted now, it judges at once, by these labels alone"
            if past >= least
            else "Promoted now, it labels what came before first, and judges after that"
        )


def difference_lines(found: LabelDifference, names: tuple[str, str]) -> Iterator[str]:
    """Of the labels, for a terminal. names: of the released model and of the candidate."""
    released, candidate = names
    share, low, high = found.agreement
    yield (
        f"the same sentiment in {found.same} of {found.stories} stories that both have labelled: "
        f"{share:.1%} ({low:.1%} to {high:.1%})"
    )
    for (ours, theirs), number in sorted(found.sentiments.items(), key=lambda one: -one[1]):
        if ours != theirs:
            yield f"  {number:>6}  {ours} by {released}, {theirs} by {candidate}"
    yield (
        f"counted as bad news: {found.released_negative} by {released}, "
        f"{found.candidate_negative} by {candidate}, {found.both_negative} by both"
    )
    yield from _subject_lines("topic", found.topics, names)
    yield from _subject_lines("company", found.companies[:COMPANIES], names)
    if len(found.companies) > COMPANIES:
        yield f"and {len(found.companies) - COMPANIES} companies with fewer stories"


def _subject_lines(kind: str, found: Sequence[TopicPair], names: tuple[str, str]) -> Iterator[str]:
    if not found:
        return
    released, candidate = names
    width = max(len(kind), *(len(one.topic) for one in found))
    yield f"{kind:<{width}}  {released:>12}  {candidate:>12}  both, and bad news by each"
    for one in found:
        yield (
            f"{one.topic:<{width}}  {one.released:>12}  {one.candidate:>12}  {one.both}, "
            f"{one.released_negative} and {one.candidate_negative}"
        )
