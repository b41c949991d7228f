"""The monitor's settings in a reader's words; no secret is shown, only whether it is set."""

from dataclasses import dataclass

from pydantic import SecretStr

from apps.news_monitor.settings import NewsSettings
from apps.news_monitor.telling import Choice, Subscription
from apps.news_monitor.webhooks import place_of


@dataclass(frozen=True)
class SettingLine:
    """key: where it stands under [news]."""

    group: str
    what: str
    value: str
    key: str


def setting_lines(settings: NewsSettings) -> list[SettingLine]:
    """What is followed, how surges are told, who is told, and how feeds and mails are handled."""
    fetch, surges, smtp, reports = settings.fetch, settings.surges, settings.smtp, settings.reports
    followed = [
        ("Model", settings.model, "model"),
        ("Topics", _listed(settings.topics, "all that the model knows"), "topics"),
        ("Companies", settings.companies or "none", "companies"),
        ("Feeds", _listed(settings.feeds, "none"), "feeds"),
        ("Watched folder", str(settings.folder or "none"), "folder"),
    ]
    budget = [
        ("False alarms a week, topics", f"{settings.false_alarms_per_week:g}",
         "false_alarms_per_week"),
        ("False alarms a week, companies", f"{settings.company_false_alarms_per_week:g}",
         "company_false_alarms_per_week"),
        ("Looked for every", f"{surges.cadence_hours} h", "surges.cadence_hours"),
        ("Windows", ", ".join(f"{hours} h" for hours in surges.windows_hours),
         "surges.windows_hours"),
        ("What is usual, from", f"{surges.baseline_days} days", "surges.baseline_days"),
        ("Least history", f"{surges.min_history_days} days", "surges.min_history_days"),
        ("Least negative stories", f"{surges.min_negative}", "surges.min_negative"),
        ("Least publishers", f"{surges.min_publishers}", "surges.min_publishers"),
        ("Least coverage", f"{surges.min_coverage:.0%}", "surges.min_coverage"),
        ("Quiet as a Sunday", _listed(tuple(map(str, surges.holidays)), "Sundays alone"),
         "surges.holidays"),
        ("Headlines are one story from a likeness of",
         f"{settings.stories.same_event:g}, within {settings.stories.hours} h"
         if settings.stories.same_event else "none: only copies are", "stories"),
    ]  # fmt: skip
    told = [
        (address, _wishes(settings.subscription(address)), "recipients, subscriptions")
        for address in settings.recipients
    ]
    told += [(place_of(hook.url), f"webhook: {_chosen(hook)}", "webhooks")
             for hook in settings.webhooks]  # fmt: skip
    told += [
        ("Reminded of what nobody acknowledges",
         f"every {settings.remind_hours:g} h, twice at most" if settings.remind_hours else "never",
         "remind_hours"),
        ("Heartbeat", f"{_listed(reports.to, 'nobody')}, {reports.heartbeat} {reports.time_zone}",
         "reports"),
        ("Summary after a pause of", f"{reports.downtime_hours:g} h", "reports.downtime_hours"),
    ]  # fmt: skip
    handled = [
        ("Feeds are asked every", f"{fetch.every_minutes:g} minutes; where a feed asks for it more "
         f"seldom, up to {fetch.longest_minutes:g}", "fetch.every_minutes, fetch.longest_minutes"),
        ("Largest feed", f"{fetch.max_bytes / 1024 / 1024:g} MiB, {fetch.max_entries} entries",
         "fetch.max_bytes, fetch.max_entries"),
        ("Private hosts allowed", _listed(fetch.allow_hosts, "none"), "fetch.allow_hosts"),
        ("Mail server", f"{smtp.host}:{smtp.port}, {smtp.security}" if smtp.host
         else "none: mails go into the outbox folder", "smtp"),
        ("Its password", _set(smtp.password), "smtp.password"),
        ("Mails come from", settings.mail_from, "mail_from"),
        ("Links in mails lead to", settings.links.url or "nowhere: mails have none", "links.url"),
        ("Their secret", _set(settings.links.secret), "links.secret"),
        ("Dashboard", settings.dashboard_url, "dashboard_url"),
    ]  # fmt: skip
    groups = {
        "What is followed": followed,
        "When a surge is told": budget,
        "Who is told": told,
        "Feeds and mails": handled,
    }
    return [SettingLine(group, *line) for group, lines in groups.items() for line in lines]


def _listed(values: tuple[str, ...], without: str) -> str:
    return ", ".join(values) or without


def _set(secret: SecretStr) -> str:
    return "set" if secret.get_secret_value() else "not set"


def _chosen(choice: Choice) -> str:
    return f"{_listed(choice.topics, 'all topics')}, {choice.min_severity} and above"


def _wishes(one: Subscription) -> str:
    when = f"one digest a day at {one.digest_at}" if one.mode == "digest" else "at once"
    quiet = f", not {one.quiet_hours}" if one.quiet_hours else ""
    zone = f" ({one.time_zone})" if quiet or one.mode == "digest" else ""
    return f"{_chosen(one)}; {when}{quiet}{zone}"
