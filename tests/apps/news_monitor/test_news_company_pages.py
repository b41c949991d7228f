"""A replay with companies, as the pages and the commands show it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from apps.news_monitor.alert_difference import read_episodes
from apps.news_monitor.company_data import company_stories, lines_of
from apps.news_monitor.labels import LabelTexts
from apps.news_monitor.page_data import last_detector, reading
from apps.news_monitor.replay import replay
from apps.news_monitor.settings import NewsSettings, SurgeSettings
from pipelines.company_table import find_in_table
from pipelines.laboratory import compare_configurations, varied
from pipelines.monitoring import asked_why, followed_companies
from shared.errors import DataError, SettingsError
from shared.settings import Home

PAGES = Path(__file__).resolve().parents[3] / "apps" / "news_monitor"
END = datetime(2026, 3, 1, tzinfo=UTC)
SINCE = END - timedelta(days=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, words: Callable[[], LabelTexts]) -> Home:
    """40 days of six stories of Oryx a day, one in eight bad, twelve bad ones on the last; Lynx is
    named beside it in every fourth, and Ibex never."""
    rows = []
    for n in range(40 * 6):
        word = "crash" if n % 8 == 0 else "report"
        beside = " with Lynx" if n % 4 == 1 else ""
        at = END - timedelta(hours=4 * n + 30)
        rows.append((at, f"Oryx bank {word} number {1000 + n}{beside}", "ABCD"[n % 4]))
    for n in range(12):
        at = END - timedelta(hours=n + 1)
        rows.append((at, f"Oryx bank crash number {9000 + n}", "ABCD"[n % 4]))
    folder = tmp_path_factory.mktemp("companies")
    items, listed = folder / "items.csv", folder / "companies.csv"
    pd.DataFrame(rows, columns=["published_at", "title", "source"]).to_csv(items, index=False)
    listed.write_text("company,ticker\nOryx,ORX\nLynx,LNX\nIbex,\n")
    home = Home(folder / "home")
    replay(
        items,
        output=home.reports / "demo",
        labeller=words(),
        settings=NewsSettings(surges=SurgeSettings(cadence_hours=24), companies=str(listed)),
        since=SINCE,
        until=END,
    )
    return home


def open_page(name: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("TRIPTYCH_HOME", str(home.root))
    page = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=60).run()
    assert not page.exception
    return page


def test_a_replay_tells_of_companies_beside_the_topics(home: Home) -> None:
    folder = home.reports / "demo"
    episodes = read_episodes(folder / "alerts.jsonl")
    assert sorted(one.topic for one in episodes) == ["Banks", "Oryx (ORX)"]
    mails = [path.read_text() for path in (folder / "outbox").glob("*.eml")]
    assert sum("Oryx (ORX):" in mail for mail in mails) == 1
    trend = pd.read_csv(folder / "trend.csv")
    assert set(trend.topic) == {"Airlines", "Banks", "Oil", "Oryx (ORX)", "Lynx (LNX)", "Ibex"}
    assert len(trend) == 6 * 2


def test_the_companies_are_listed_with_the_firing_one_first(home: Home) -> None:
    lines = followed_companies(home, home.reports / "demo")
    assert [(one.title, one.state) for one in lines] == [
        ("Oryx (ORX)", "firing"),
        ("Lynx (LNX)", "quiet"),
        ("Ibex", "quiet"),
    ]
    # 28 days of six a day less the 30 hours without, and the twelve.
    assert lines[0].stories == sum(4 * n + 30 <= 28 * 24 for n in range(240)) + 12
    assert (lines[2].stories, lines[2].tile) == (0, None)
    printed = lines_of(lines)
    assert printed[0].split() == [
        "company",
        "state",
        "28",
        "days",
        "share",
        "now",
        "usual",
        "score",
    ]
    assert printed[3] == "Ibex        quiet   0 of 0"
    assert asked_why(home, "ORX", None, home.reports / "demo").verdict == "opened"
    assert asked_why(home, "Oryx", None, home.reports / "demo").topic == "Oryx (ORX)"


def test_without_companies_it_says_how_to_name_them(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        followed_companies(Home(tmp_path), tmp_path)
    assert str(caught.value) == (f"{tmp_path}: no replay was written here (no replay.db)")


def test_the_company_page_shows_what_is_said_of_each(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("companies_page", home, monkeypatch)
    listing, stories = page.dataframe
    assert listing.value["company"].tolist() == ["Oryx (ORX)", "Lynx (LNX)", "Ibex"]
    assert stories.value["story"].str.contains("Oryx").all()
    assert "Bad news about Oryx (ORX) is surging" in page.text[0].value
    with reading(f"sqlite:///{home.reports / 'demo' / 'replay.db'}") as connection:
        assert connection is not None
        detector = last_detector(connection, companies=True)
        assert detector is not None
        found = company_stories(connection, detector, "Lynx (LNX)")
    assert {story.own for story in found} == {True}
    page.main.selectbox[0].select("Ibex").run()
    assert not page.exception


def test_the_laboratory_shows_in_what_two_budgets_differ(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page("laboratory_page", home, monkeypatch)
    for side in "AB":
        page.selectbox(key=f"cadence {side}").select(24)
    page.number_input(key="negative B").set_value(50)
    page.date_input[0].set_value(SINCE.date())
    page.date_input[1].set_value(END.date())
    page.button[0].click().run()
    assert not page.exception
    told = [(metric.label, metric.value) for metric in page.metric]
    assert told == [("In both", "0"), ("Only in A", "1"), ("Only in B", "0")]
    assert page.dataframe[0].value["topic"].tolist() == ["Banks"]
    page.checkbox[0].check().run()
    page.button[0].click().run()
    assert not page.exception
    assert page.dataframe[0].value["topic"].tolist() == ["Banks", "Oryx (ORX)"]
    assert "of companies at" in page.caption[-3].value


def test_the_command_compares_as_the_page_does(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    done = compare_configurations(
        home,
        "cadence_hours=24",
        "cadence_hours=24,min_negative=50",
        since=SINCE,
        until=END,
        replayed=home.reports / "demo",
        companies=False,
        say=lines.append,
    )
    assert [one.topic for one in done.found.only_a] == ["Banks"]
    assert (done.found.both, done.found.only_b, done.b.alerts) == ((), (), ())
    assert lines[1].startswith("B: cadence_hours=24,min_negative=50; model words@1, 2 moments, ")


def test_companies_are_judged_as_the_replay_judged_them(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, lines = home.reports / "demo", list[str]()
    done = compare_configurations(
        home,
        "cadence_hours=24",
        "cadence_hours=24,company_false_alarms_per_week=0.000001",
        since=SINCE,
        until=END,
        replayed=folder,
        companies=True,
        say=lines.append,
    )
    told, ours = (
        sorted((one.topic, one.opened_at, one.severity, one.negative, one.stories) for one in some)
        for some in (read_episodes(folder / "alerts.jsonl"), done.a.alerts)
    )
    assert (len(ours), ours) == (2, told)
    # A budget of companies is none of topics.
    assert [one.topic for one in done.found.only_a] == ["Oryx (ORX)"]
    assert [pair[0].topic for pair in done.found.both] == ["Banks"]
    assert done.a.threshold == done.b.threshold


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("nonsense=1", "'nonsense=1': expected NAME=VALUE; names are false_alarms_per_week, "),
        ("min_negative", "'min_negative': expected NAME=VALUE; names are false_alarms_per_week, "),
        ("min_negative=0", "'min_negative=0': min_negative: Input should be greater than or equal"),
        ("cadence_hours=5", "'cadence_hours=5': cadence_hours: Input should be 1, 2, 3, 4, 6, 8"),
    ],
)
def test_a_configuration_that_is_none_says_what_is_allowed(said: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        varied(NewsSettings(), said)
    assert str(caught.value).startswith(complaint)


def test_a_configuration_is_said_in_one_option() -> None:
    changed, model = varied(
        NewsSettings(), "false_alarms_per_week=3, windows_hours=24|72,topics=Oil|Banks,model=n@2"
    )
    assert (changed.false_alarms_per_week, changed.surges.windows_hours) == (3.0, (24, 72))
    assert (changed.topics, model) == (("Oil", "Banks"), "n@2")


def test_a_list_is_tried_on_a_table(tmp_path: Path, words: Callable[[], LabelTexts]) -> None:
    listed, texts = tmp_path / "companies.csv", tmp_path / "texts.csv"
    listed.write_text("company,ticker\nOryx,ORX\nLynx,LNX\nIbex,\n")
    texts.write_text("text\nOryx crash; $LNX gains\nnothing here\n")
    found = find_in_table(listed, texts, tmp_path / "found.csv", mapping={}, labeller=words())
    assert (found.texts, found.named, found.companies, found.listed) == (2, 1, 2, 3)
    written = pd.read_csv(tmp_path / "found.csv").round(2)
    assert json.loads(written.to_json(orient="values")) == [
        [1, "Oryx crash; $LNX gains", "Oryx", "ORX", "Oryx", "name", "negative", 0.9],
        [1, "Oryx crash; $LNX gains", "Lynx", "LNX", "$LNX", "ticker", "negative", 0.5],
    ]
