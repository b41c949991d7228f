"""[recommender] of triptych.toml: what an event is worth, the sizes of the models, the rules."""

from collections.abc import Mapping
from datetime import date
from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from shared.settings import Section, TimeZone, load_section, settings_file

SECTION = "recommender"

EVENT_WEIGHTS: dict[str, float] = {
    "view": 1.0,
    "click": 2.0,
    "comment": 4.0,
    "rating": 4.0,
    "share": 5.0,
    "cart": 5.0,
    "buy": 8.0,
    # These undo what came before them: a pair whose weights sum to 0 or less is no interest.
    "refund": -8.0,
    "cancel": -8.0,
    "hide": -20.0,
}
TEXT_FIELDS: tuple[str, ...] = (
    "title",
    "brand",
    "year",
    "categories",
    "tags",
    "description",
)
Window = Literal["last", "time", "auto"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[str, ...] = get_args(Weekday)


class EventSettings(Section):
    """[recommender.events]: how the log is read.

    weights: event type -> what one event adds to the interest of the user in the item; below 0
    takes away. taken: types by which a user takes an item, so that a further one is taking it
    again; in a log without any of these every event does. default: for events without a type.
    most: the weight of a pair at most, so that forty views do not outweigh five purchases.
    history: a profile's most recent items.
    """

    weights: dict[str, float] = Field(default_factory=lambda: dict(EVENT_WEIGHTS))
    taken: tuple[str, ...] = ("buy",)
    default: float = Field(default=1.0, gt=0.0)
    most: float = Field(default=10.0, gt=0.0)
    history: int = Field(default=50, ge=1, le=500)

    @field_validator("taken")
    @classmethod
    def _taken_are_lower_case(cls, taken: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.strip().lower() for name in taken)

    @field_validator("weights")
    @classmethod
    def _types_are_lower_case(cls, weights: dict[str, float]) -> dict[str, float]:
        """What is not named keeps its weight; names are compared in lower case."""
        return EVENT_WEIGHTS | {name.strip().lower(): value for name, value in weights.items()}


class ProfileSettings(Section):
    """[recommender.profile]: a user as a weighted mean over the items of the history.

    decay: weight of an item against the one after it, where the log has no clock or items lie
    close; half_life_days: what time adds to that (None: order alone counts).
    """

    decay: float = Field(default=0.8, gt=0.0, le=1.0)
    half_life_days: float | None = Field(default=None, gt=0.0)


class SequenceSettings(Section):
    """[recommender.sequence]: the residual sequence model; epochs 0 leaves the mean alone.

    least_steps: a small log gets more epochs, so that there are this many steps (at most 40).

    patience: epochs without a gain before the training stops, at least a third of all.
    dimensions: of the whitened item vectors. negatives: drawn evenly from the catalogue for each
    batch. id_dropout: share of items whose id offset is hidden in a batch, so that text alone
    must carry them. id_rate: learning rate of the id offsets. temperature: 1 / scale of the
    logits at the start. id_weight_decay: pulls the offsets back to 0.
    """

    dimensions: int = Field(default=256, ge=8)
    hidden: int = Field(default=96, ge=8)
    length: int = Field(default=50, ge=2)
    epochs: int = Field(default=5, ge=0)
    least_steps: int = Field(default=700, ge=0)
    patience: int = Field(default=2, ge=1)
    batch_size: int = Field(default=256, ge=1)
    negatives: int = Field(default=768, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0.0)
    id_rate: float = Field(default=5e-3, gt=0.0)
    weight_decay: float = Field(default=0.01, ge=0.0)
    id_weight_decay: float = Field(default=1.0, ge=0.0)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    id_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    temperature: float = Field(default=0.07, gt=0.0)


class RankingSettings(Section):
    """[recommender.ranking]: candidates and the last step.

    candidates: of each channel. windows_days: how far back popularity is counted, where the log
    has a clock. neighbours, shrink: of the co-occurrence table (shrink: co-occurrences a pair of
    items is assumed to lack, so that two shared buyers are no proof).
    new_items_places: of the first ten of a list, for items that nobody has taken yet, as many as
    is their share of the catalogue and this at most: what is there by its score counts, what is
    missing comes last of the ten; 0 keeps none. new_for_days: an item that nobody has taken and
    whose created_at lies longer before the end of the log is dead stock and not new; None takes
    every such item for new.
    again_places: of a list, for what the user has taken and is likely to take again, at most; 0 for
    none. A training offers such items only where that serves users it did not learn from better.
    again_after: what share of the usual interval must have gone by since the user took it.
    new_items_cost: what share of the NDCG on items that were taken before may be given up beside
    that for scores of new items that are lifted; 0 ranks each as likely as it seems.
    """

    candidates: int = Field(default=100, ge=1)
    windows_days: tuple[int, ...] = (7, 30)
    neighbours: int = Field(default=200, ge=1)
    shrink: float = Field(default=10.0, ge=0.0)
    rounds: int = Field(default=400, ge=1)
    leaves: int = Field(default=31, ge=2)
    learning_rate: float = Field(default=0.05, gt=0.0)
    negatives: int = Field(default=120, ge=1)
    new_items_places: int = Field(default=2, ge=0, le=10)
    new_for_days: int | None = Field(default=None, ge=1)
    new_items_cost: float = Field(default=0.0, ge=0.0, le=0.5)
    again_places: int = Field(default=10, ge=0, le=50)
    again_after: float = Field(default=0.25, ge=0.0)


class Campaign(Section):
    """[[recommender.rules.campaigns]]: one rule on some items, on some days.

    begins, ends: first and last day, open where absent; weekdays: only these, all where empty.
    Items are those of one of `items`, of one of the `categories`, of one of the `brands`, with one
    of the `tags`, and in the price band: of what is given all must hold.
    What is done with them is one of: boost (added to their scores, in deviations of the scores
    of the user's candidates; below 0 holds back), block (never shown), most (of a list at most
    so many).
    """

    name: str = Field(min_length=1, max_length=60)
    begins: date | None = None
    ends: date | None = None
    weekdays: tuple[Weekday, ...] = ()
    items: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    price_from: float | None = Field(default=None, ge=0.0)
    price_to: float | None = Field(default=None, ge=0.0)
    boost: float | None = Field(default=None, ge=-100.0, le=100.0)
    block: bool = False
    most: int | None = Field(default=None, ge=1)

    @field_validator("name")
    @classmethod
    def _name_is_one_line(cls, name: str) -> str:
        """It stands in the reasons that customers are shown."""
        if not name.isprintable() or not name.strip():
            raise ValueError("expected one line of text")
        return name.strip()

    @model_validator(mode="after")
    def _does_one_thing_with_some_items(self) -> "Campaign":
        if (self.boost is not None) + self.block + (self.most is not None) != 1:
            raise ValueError(f"campaign {self.name!r}: expected one of boost, block = true, most")
        selects = (self.items, self.categories, self.brands, self.tags)
        if not any(selects) and self.price_from is None and self.price_to is None:
            raise ValueError(
                f"campaign {self.name!r} selects no items: expected one of items, categories, "
                "brands, tags, price_from, price_to"
            )
        if self.begins and self.ends and self.begins > self.ends:
            raise ValueError(f"campaign {self.name!r} ends {self.ends}, before it begins")
        _check_band(self.price_from, self.price_to)
        return self

    def is_on(self, day: date) -> bool:
        """Both ends are days of the campaign."""
        return (
            (self.begins is None or self.begins <= day)
            and (self.ends is None or day <= self.ends)
            and (not self.weekdays or WEEKDAYS[day.weekday()] in self.weekdays)
        )


class RuleSettings(Section):
    """[recommender.rules]: what a shop allows and wants, applied after the final ranking.

    blocked: item ids never recommended. per_category: items of one category in a list at most
    (None: no limit). price_from, price_to: cheaper and dearer items are left out, those without a
    price stay. stock: "catalogue" (its column `stock`) or a table `item_id,stock` that is read
    again when it changes; items with 0 or less are left out, those it does not name stay.
    sale_days: items outside the catalogue's `available_from` to `available_to` are left out.
    diversity: 0 takes the ranking as it is, towards 1 an item counts less the more it is like one
    above it (MMR). explore: share of a list given to items that at most `explored_at` users have
    taken, drawn by lot. time_zone: in which the days of campaigns begin.
    """

    blocked: tuple[str, ...] = ()
    per_category: int | None = Field(default=None, ge=1)
    price_from: float | None = Field(default=None, ge=0.0)
    price_to: float | None = Field(default=None, ge=0.0)
    stock: str | None = Field(default=None, min_length=1)
    sale_days: bool = False
    diversity: float = Field(default=0.0, ge=0.0, lt=1.0)
    explore: float = Field(default=0.0, ge=0.0, le=0.5)
    explored_at: int = Field(default=0, ge=0)
    time_zone: TimeZone = "UTC"
    campaigns: tuple[Campaign, ...] = ()

    @model_validator(mode="after")
    def _names_and_bands_make_sense(self) -> "RuleSettings":
        names = [campaign.name for campaign in self.campaigns]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"campaign {name!r} is there twice, expected each name once")
        _check_band(self.price_from, self.price_to)
        return self

    def on(self, day: date) -> "RuleSettings":
        """The same with the campaigns of that day alone."""
        running = tuple(campaign for campaign in self.campaigns if campaign.is_on(day))
        return self.model_copy(update={"campaigns": running})


def _check_band(least: float | None, most: float | None) -> None:
    if least is not None and most is not None and least > most:
        raise ValueError(f"price_from {least:g} is above price_to {most:g}")


class EncoderSettings(Section):
    """[recommender.encoder]: fine-tuning on what is engaged with together.

    pairs: at most so many pairs of items, 0 leaves the encoder frozen.
    """

    pairs: int = Field(default=0, ge=0)
    window: int = Field(default=3, ge=1)


class RecommenderSettings(Section):
    """[recommender]. text_fields: the item's columns in the order they stand in its text.

    held_out: `time` holds out the last `held_out_share` of the log's time, `last` the last item
    of each user; `auto` takes `time` where the log has a clock and enough users on both sides.
    """

    text_fields: tuple[str, ...] = TEXT_FIELDS
    description_words: int = Field(default=96, ge=0)
    held_out: Window = "auto"
    held_out_share: float = Field(default=0.2, gt=0.0, lt=1.0)
    events: EventSettings = EventSettings()
    profile: ProfileSettings = ProfileSettings()
    sequence: SequenceSettings = SequenceSettings()
    ranking: RankingSettings = RankingSettings()
    rules: RuleSettings = RuleSettings()
    encoder: EncoderSettings = EncoderSettings()


def read_settings(environ: Mapping[str, str]) -> RecommenderSettings:
    """[recommender] of the triptych.toml in use; defaults where there is none.

    Raises: SettingsError naming the file, the key and what is allowed.
    """
    return load_section(RecommenderSettings, SECTION, file=settings_file(environ), environ=environ)
