"""Settings of rules, and what they say of each item on a day."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from apps.recommender.batch import run_batch
from apps.recommender.catalog import Catalog
from apps.recommender.day_rules import DayRules, day_rules, read_stock, stock_levels
from apps.recommender.recommender import Recommender
from apps.recommender.rule_cost import rule_cost, what_if
from apps.recommender.settings import Campaign, RecommenderSettings, RuleSettings
from shared.errors import DataError, SettingsError
from shared.settings import load_section

DAY = date(2026, 12, 1)  # a Tuesday
SHOP = Catalog(
    pd.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "title": ["A", "B", "C", "D"],
            "text": ["A", "B", "C", "D"],
            "categories": ["Kitchen > Baking", "Kitchen > Tea", "Garden", ""],
            "brand": ["Pim", "ＰＩＭ", "Tansy", ""],
            "tags": ["gift|bread", "gift", "", "bread"],
            "price": [5.0, 50.0, 500.0, np.nan],
            "stock": ["3", "0", "sold out", "many"],
            "available_from": ["2026-12-01", "2026-12-02", "", ""],
            "available_to": ["", "", "2026-11-30", "2026-12-01T10:00:00Z"],
        }
    )
)
COUNTS = np.array([9, 0, 2, 0])


def of(table: dict[str, float] | None = None, /, **said: object) -> DayRules:
    return day_rules(RuleSettings.model_validate(said), SHOP, COUNTS, DAY, table)


def refusals(found: DayRules) -> dict[str, str]:
    names = ("", *found.refusals)
    return {i: names[why] for i, why in zip(SHOP.ids, found.refused, strict=True) if why}


@pytest.mark.parametrize(
    ("said", "out"),
    [
        ({}, {}),
        ({"blocked": ["c", "gone"]}, {"c": "blocked"}),
        ({"price_from": 10, "price_to": 100}, {"a": "price", "c": "price"}),
        ({"stock": "catalogue"}, {"b": "out of stock", "c": "out of stock"}),
        ({"sale_days": True}, {"b": "not on sale", "c": "not on sale"}),
        ({"blocked": ["c"], "price_to": 100}, {"c": "blocked"}),
    ],
)
def test_what_is_left_out_and_why(said: dict[str, object], out: dict[str, str]) -> None:
    assert refusals(of(**said)) == out
    assert of(**said).change_lists == bool(out)


def test_a_table_of_stock_leaves_out_what_it_says_is_gone(tmp_path: Path) -> None:
    table = tmp_path / "stock.csv"
    table.write_text("item_id,stock\na,0\na,2\nb,-1\nc,?\nzzz,0\n")
    stock = read_stock(table)
    assert stock == {"a": 2.0, "b": -1.0, "zzz": 0.0}
    assert refusals(of(stock, stock=str(table))) == {"b": "out of stock"}
    with pytest.raises(DataError) as caught:
        read_stock(tmp_path / "none.csv")
    assert str(caught.value) == (
        f"{tmp_path}/none.csv: no such file; [recommender.rules] stock names a table "
        "`item_id,stock`, or is 'catalogue' for the catalogue's column"
    )


def test_numbers_and_words_of_stock() -> None:
    levels = stock_levels(pd.Series(["4", " 0.0", "Out of Stock", "TRUE", "", "perhaps"]))
    assert levels.tolist()[:4] == [4.0, 0.0, 0.0, 1.0]
    assert np.isnan(levels[4:]).all()


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        ({"categories": ["kitchen"]}, "ab"),
        ({"categories": ["Kitchen > Baking", "Garden"]}, "ac"),
        ({"brands": ["pim"]}, "ab"),
        ({"tags": ["gift"], "brands": ["Pim"], "price_from": 20}, "b"),
        ({"items": ["d", "gone"]}, "d"),
        ({"price_to": 50}, "ab"),
    ],
)
def test_a_campaign_is_about_the_items_for_which_all_it_says_holds(
    selection: dict[str, object], chosen: str
) -> None:
    campaign = {"name": "sale", "boost": 1.5, **selection}
    found = of(campaigns=[campaign])
    assert found.boost.tolist() == [1.5 * (item in chosen) for item in "abcd"]
    assert [found.boosters[b] for b in found.boosted] == ["sale" * (i in chosen) for i in "abcd"]
    assert refusals(of(campaigns=[{"name": "stop", "block": True, **selection}])) == dict.fromkeys(
        chosen, "stop"
    )
    limited = of(campaigns=[{"name": "few", "most": 2, **selection}])
    assert limited.most[limited.groups].min(1).tolist() == [
        2 if item in chosen else np.iinfo(np.int64).max for item in "abcd"
    ]


def test_boosts_add_up_and_limits_of_categories_stand_beside_campaigns() -> None:
    found = of(
        per_category=3,
        campaigns=[
            {"name": "one", "boost": 1, "items": ["a", "b"]},
            {"name": "two", "boost": -0.5, "items": ["a"]},
            {"name": "few", "most": 1, "items": ["a", "d"]},
        ],
    )
    assert found.boost.tolist() == [0.5, 1.0, 0.0, 0.0]
    assert [found.boosters[b] for b in found.boosted] == ["one, two", "one", "", ""]
    assert [sorted(found.most[g].tolist()) for g in found.groups] == [
        [1, 3, 3], [3, 3, 2**63 - 1], [3, 2**63 - 1, 2**63 - 1], [1, 2**63 - 1, 2**63 - 1]
    ]  # fmt: skip


def test_a_campaign_runs_on_its_days_the_first_and_the_last_included() -> None:
    campaign = Campaign.model_validate(
        {"name": "x", "begins": DAY, "ends": "2026-12-08", "weekdays": ["tue", "sun"],
         "boost": 1, "items": ["a"]}
    )  # fmt: skip
    days = [date(2026, 11, 24), DAY, date(2026, 12, 2), date(2026, 12, 6), date(2026, 12, 8),
            date(2026, 12, 13)]  # fmt: skip
    assert [campaign.is_on(day) for day in days] == [False, True, False, True, True, False]
    rules = RuleSettings(campaigns=(campaign,))
    assert rules.on(days[0]) == RuleSettings()
    assert rules.on(DAY) == rules


def test_unexplored_is_what_few_have_taken() -> None:
    assert of(explore=0.1).unexplored.tolist() == [False, True, False, True]
    assert of(explore=0.1, explored_at=2).unexplored.tolist() == [False, True, True, True]


def test_rules_that_fit_nothing_are_told() -> None:
    found = of(blocked=["x", "y"], campaigns=[{"name": "idle", "boost": 1, "brands": ["?"]}])
    assert found.notes == (
        "campaign 'idle' is about no item",
        "2 blocked ids are no items (first: x)",
    )
    with pytest.raises(DataError) as caught:
        day_rules(RuleSettings(stock="catalogue"), Catalog(SHOP.frame[["item_id"]]), COUNTS, DAY)
    assert str(caught.value) == (
        "[recommender.rules] stock = 'catalogue': the catalogue has no column 'stock'; "
        "it has: item_id"
    )


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("diversity = 1.0", "rules.diversity = 1.0, expected a number >= 0.0 and < 1.0"),
        ("per_category = 0", "rules.per_category = 0, expected a whole number >= 1"),
        ("price_from = 9\nprice_to = 2", "rules = {'price_from': 9, 'price_to': 2}, price_from 9 "
                                         "is above price_to 2"),
        ("time_zone = 'Mars'", "rules.time_zone = 'Mars', expected a time zone as Europe/Berlin "
                               "or UTC"),
        ("varied = 1", "unknown key 'varied'"),
        ("[[recommender.rules.campaigns]]\nboost = 1", "rules.campaigns.0.name is missing"),
        ("[[recommender.rules.campaigns]]\nname = 'x'\nboost = 1",
         "campaign 'x' selects no items: expected one of items, categories, brands, tags, "
         "price_from, price_to"),
        ("[[recommender.rules.campaigns]]\nname = 'x'\nitems = ['a']\nboost = 1\nmost = 2",
         "campaign 'x': expected one of boost, block = true, most"),
        ("[[recommender.rules.campaigns]]\nname = 'x'\nitems = ['a']\nboost = 1\n"
         "begins = 2026-12-02\nends = 2026-12-01", "campaign 'x' ends 2026-12-01, before it"),
        ("[[recommender.rules.campaigns]]\nname = 'x'\nitems = ['a']\nboost = 1\n"
         "weekdays = ['monday']", "rules.campaigns.0.weekdays.0 = 'monday', expected one of 'mon'"),
        ("[[recommender.rules.campaigns]]\nname = 'x'\nitems = ['a']\nboost = 1\n"
         "[[recommender.rules.campaigns]]\nname = 'x'\nitems = ['a']\nmost = 1\n",
         "campaign 'x' is there twice, expected each name once"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_one_line_with_file_key_and_what_is_allowed(
    tmp_path: Path, toml: str, said: str
) -> None:
    file = tmp_path / "triptych.toml"
    file.write_text(f"[recommender.rules]\n{toml}\n")
    with pytest.raises(SettingsError) as caught:
        load_section(RecommenderSettings, "recommender", file=file, environ={})
    assert str(caught.value).startswith("triptych.toml [recommender")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def with_rules(shop: Recommender, at: datetime, **said: object) -> Recommender:
    return replace(shop, rules=RuleSettings.model_validate(said), clock=lambda: at, _day_rules={})


NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def test_request_batch_and_what_if_show_the_same_list_and_its_reasons(
    shop: Recommender, tmp_path: Path
) -> None:
    strict = with_rules(
        shop, NOON, per_category=2, diversity=0.2, price_to=16.0,
        campaigns=[{"name": "shoe week", "categories": ["shoe"], "boost": 5, "ends": DAY}],
    )  # fmt: skip
    users = [*shop.users[:20], "stranger"]
    one_by_one = pd.concat([strict.recommend([u], 5) for u in users], ignore_index=True)
    done = run_batch(strict, users, k=5, output=tmp_path / "x.parquet", say=lambda _: None)
    written = pd.read_parquet(tmp_path / "x.parquet")
    same = ["user_id", "item_id", "rank", "reason"]
    pd.testing.assert_frame_equal(written[same], one_by_one[same])
    assert done.rows == len(written)
    for user in (users[0], "stranger"):
        listed = one_by_one[one_by_one["user_id"] == user]
        found = what_if(strict, user, 5)
        assert found.listed["item_id"].tolist() == listed["item_id"].tolist()
        plain = shop.recommend([user], 5)["item_id"].tolist()
        assert found.unruled["item_id"].tolist() == plain
    shelves = one_by_one["item_id"].str.rstrip("0123456789").replace("cold", "tea")
    assert one_by_one.assign(shelf=shelves).groupby(["user_id", "shelf"]).size().max() <= 2
    prices = dict(zip(shop.bundle.catalog.ids, shop.bundle.catalog.prices, strict=True))
    assert one_by_one["item_id"].map(prices).max() <= 16.0
    shoes = one_by_one[shelves == "shoe"]
    assert len(shoes)
    assert shoes["reason"].str.contains("promoted: shoe week", regex=False).all()
    tomorrow = replace(strict, clock=lambda: datetime(2026, 12, 2, tzinfo=UTC))
    assert not tomorrow.recommend(users, 5)["reason"].str.contains("shoe week").any()


def test_the_day_begins_where_the_shop_is(shop: Recommender) -> None:
    late = datetime(2026, 12, 1, 23, 30, tzinfo=UTC)
    assert with_rules(shop, late).today == date(2026, 12, 1)
    assert with_rules(shop, late, time_zone="Europe/Berlin").today == date(2026, 12, 2)


def test_a_list_is_full_though_nearly_everything_is_left_out(shop: Recommender) -> None:
    few = ["bank0", "bank3", "news1"]
    blocked = [name for name in shop.bundle.catalog.ids if name not in few]
    strict = with_rules(shop, NOON, blocked=blocked)
    listed = strict.recommend(["customer000", "stranger"], 3)
    assert [sorted(part) for _, part in listed.groupby("user_id")["item_id"]] == [few, few]


def test_a_changed_table_of_stock_counts_at_the_next_request(
    shop: Recommender, tmp_path: Path
) -> None:
    table = tmp_path / "stock.csv"
    best = shop.recommend(["customer000"], 2)["item_id"].tolist()
    table.write_text("item_id,stock\nnothing,0\n")
    strict = with_rules(shop, NOON, stock=str(table))
    assert strict.recommend(["customer000"], 2)["item_id"].tolist() == best
    table.write_text(f"item_id,stock\nnothing,0\n{best[0]},0\n")
    listed = strict.recommend(["customer000"], 2)
    assert listed["item_id"].iloc[0] == best[1]
    assert listed["reason"].iloc[1].endswith("; moved up for items left out: out of stock")


def test_the_cost_is_the_mean_over_users_and_none_without_rules(shop: Recommender) -> None:
    assert rule_cost(shop, shop.users, 5) is None
    strict = with_rules(shop, NOON, per_category=1, blocked=["tea0"])
    users = list(shop.users[:40])
    cost = rule_cost(strict, users, 5)
    assert cost is not None
    kept = [what_if(strict, user, 5).kept for user in users]
    assert cost.kept == pytest.approx(np.mean(kept))
    assert cost.worst == pytest.approx(min(kept))
    assert cost.users == 40
    assert 0 < cost.low < cost.kept < cost.high < 1
    fates = pd.concat([what_if(strict, user, 5).unruled for user in users])["under the rules"]
    assert cost.gone["over a limit"] == pytest.approx((fates == "over a limit").mean())
    assert cost.gone["blocked"] == pytest.approx((fates == "left out: blocked").mean())
    assert cost.line.startswith(f"rules: {cost.kept:.1%} (")
