"""Which method a run uses, and what follows from it for its options. Nothing here needs torch, so
that a run without fine-tuning does not wait for it.
"""

from dataclasses import dataclass, replace

from shared.errors import SettingsError
from shared.training.options import Method, TrainOptions

# Those that leave the encoder's own weights as they are and learn a few beside them.
ADAPTERS = frozenset({Method.LORA, Method.ADALORA, Method.IA3, Method.PROMPT})


@dataclass(frozen=True)
class Choice:
    """The method of a run and, in one phrase, why."""

    method: Method
    reason: str


@dataclass(frozen=True)
class Rule:
    """Holds for data whose smallest label has at most `rows` rows, or up to `minutes` for it.

    None: does not ask. The first rule that holds decides.
    """

    method: Method
    reason: str
    rows: int | None = None
    minutes: float | None = None

    def holds(self, smallest_label: int, minutes: float | None) -> bool:
        if self.rows is not None and smallest_label > self.rows:
            return False
        return self.minutes is None or (minutes is not None and minutes <= self.minutes)


# Measured by `triptych benchmark methods` (docs/fine_tuning.md), the trained heads alone, one seed:
# BANKING77 with 10 rows a label: frozen 84.6, LoRA 85.7, full 85.7, IA3 86.0 (standard error .9);
# 2,000 headlines: frozen 72.4, IA3 78.5, LoRA 79.7, full 82.4 (.9). In the fusion, with what
# `settled` adds, on BANKING77's 10 rows: full 88.1, frozen 86.0, paired +2.1 (1.2 to 3.2). Below 5
# rows nothing was measured here; the fusion is what the field recommends there.
RULES: tuple[Rule, ...] = (
    Rule(Method.FROZEN, "the budget is too short to fine-tune in", minutes=0.5),
    Rule(Method.FROZEN, "the smallest label has too few rows to fine-tune on", rows=4),
    Rule(Method.FULL, "every label has rows enough"),
)


# Measured on BANKING77 with 10 rows a label, one draw and seed, 1,540 questions, 6 epochs, the last
# weights: the trained head .866 by its own loss alone and .874 with the contrastive loss beside it,
# logistic regression on the vectors so trained .852 and .880 (standard error .009). With more rows
# a label nothing was measured, and weights other than 1 were not tried. docs/fine_tuning.md.
FEW_ROWS = 10
CONTRASTIVE = 1.0


def choose_method(
    asked: str, *, smallest_label: int, minutes: float | None, rules: tuple[Rule, ...] = RULES
) -> Choice:
    """The method asked for, or for `auto` the first rule that holds.

    smallest_label: training rows of the rarest label. minutes: that fine-tuning may take. The last
    rule must hold for anything.
    """
    if asked != Method.AUTO:
        return Choice(Method(asked), "asked for")
    rule = next(rule for rule in rules if rule.holds(smallest_label, minutes))
    budget = "no time limit" if minutes is None else f"{minutes:.3g} minutes for it"
    return Choice(rule.method, f"{rule.reason} (smallest label: {smallest_label} rows, {budget})")


def has_few_labels(rows: int, labels: int) -> bool:
    """Whether so many training rows are few for so many labels: FEW_ROWS each on average."""
    return rows <= FEW_ROWS * labels


def settled(options: TrainOptions, *, few: bool, pairable: bool) -> TrainOptions:
    """The options with `contrastive` and `keep` decided where they say None.

    An adapter's few weights are learned to the end as well: its loss on unseen rows still falls
    when its accuracy there does not rise any more, and which evaluation is best is noise.
    pairable: whether the contrastive loss can be computed: some head has one label a row, and one
    process sees the whole batch. Raises SettingsError where it is asked for and cannot be.
    """
    if options.contrastive and not pairable:
        raise SettingsError(
            f"contrastive = {options.contrastive:g}: expected 0 where no head has exactly one "
            "label a row, and where several processes share a batch"
        )
    wanted = CONTRASTIVE if few and pairable else 0.0
    return replace(
        options,
        contrastive=wanted if options.contrastive is None else options.contrastive,
        keep=options.keep or ("last" if few or options.method in ADAPTERS else "best"),
    )
