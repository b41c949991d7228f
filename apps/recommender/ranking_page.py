"""What the final ranking goes by: the weight of each group of features, and the effect of one."""

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from apps.recommender.feature_readings import Reading, reading
from apps.recommender.features import COLD, FUSED
from apps.recommender.model_in_use_page import loaded, recommender_in_use
from apps.recommender.ranking import Ranking
from apps.recommender.ranking_effects import Effect, RankedSample, effects_of, sample_of, weights_of
from shared.errors import TriptychError

SHOWN = 6
IN_A_ROW = 3
LEAST_WEIGHT = 0.005  # as it is printed
COLOUR = "#2563a8"
FIGURES = ("moves", "low", "high")


@st.cache_resource(show_spinner="Ranking a sample of users …", max_entries=2)
def sampled(reference: str, state: str) -> RankedSample:  # noqa: ARG001  (another state: anew)
    return sample_of(loaded(reference))


@st.cache_data(show_spinner="Weighing the features …", max_entries=4)
def weight_table(reference: str, state: str) -> pd.DataFrame:
    """One row for each group, the heaviest first."""
    ranking = loaded(reference).bundle.ranking
    gains = ranking.importance if ranking.trees is not None else {}
    return pd.DataFrame(
        {
            "about": weight.group,
            "moves": weight.moves.value,
            "low": weight.moves.low,
            "high": weight.moves.high,
            "share of the gain": sum(gains.get(name, 0.0) for name in weight.features),
            "features": list(weight.features),
        }
        for weight in weights_of(sampled(reference, state))
    )


@st.cache_data(show_spinner="Following the features …", max_entries=64)
def effects(reference: str, state: str, features: tuple[str, ...]) -> list[Effect]:
    return effects_of(sampled(reference, state), features)


def how_it_ranks(ranking: Ranking) -> str:
    """Which of the two it is, how that was found, and what is done for new items."""
    judged = ", ".join(f"{name} {value:.3f}" for name, value in ranking.judged.items())
    kind = {
        "trees": "trees (LambdaMART) over all features",
        "fusion": "a weighted sum of the channels' scores",
    }[ranking.kind]
    found = f"NDCG@10 within the candidates of users who taught neither: {judged}"
    return f"The list is ordered by {kind}; {found if judged else 'too few users to judge'}."


def how_it_sums(ranking: Ranking) -> str:
    """What the weighted sum, one of the trees' features, is made of."""
    heavy = sorted(zip(FUSED, ranking.weights, strict=True), key=lambda pair: -abs(pair[1]))
    weights = ", ".join(
        f"{by:+.2f} for {name.replace(f', {COLD}', ' of new items')}"
        for name, by in heavy
        if abs(by) >= LEAST_WEIGHT
    )
    return f"The sum of the channels gives, for one deviation of a score: {weights}."


def weight_chart(table: pd.DataFrame) -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(table).encode(
        y=alt.Y("about:N", sort=None, title=None, axis=alt.Axis(labelLimit=300)),
        tooltip=["about:N", *(alt.Tooltip(f"{name}:Q", format=".3f") for name in FIGURES)],
    )
    bars = base.mark_bar(color=COLOUR).encode(
        x=alt.X("moves:Q", title="deviations by which it moves an item within its list")
    )
    ends = base.mark_rule(color="#101418").encode(x="low:Q", x2="high:Q")
    return alt.layer(bars, ends).properties(height=alt.Step(26))


def effect_chart(effect: Effect, known: Reading) -> alt.LayerChart | alt.FacetChart:
    at = np.asarray(known.natural(np.array(effect.at)))
    points = pd.DataFrame(
        {"at": at, "effect": effect.effect, "low": effect.low, "high": effect.high}
    )
    # A count may be 0, which a logarithm cannot show.
    scale = alt.Scale(type="symlog" if known.logarithmic else "linear", nice=False)
    base = alt.Chart(points).encode(x=alt.X("at:Q", title=None, scale=scale))
    band = base.mark_area(opacity=0.2, color=COLOUR).encode(
        y=alt.Y("low:Q", title="score, in deviations"), y2="high:Q"
    )
    line = base.mark_line(color=COLOUR, point=True).encode(
        y="effect:Q",
        tooltip=[
            alt.Tooltip(f"{name}:Q", format=".3g") for name in ("at", "effect", "low", "high")
        ],
    )
    zero = alt.Chart(pd.DataFrame({"y": [0.0]})).mark_rule(color="#9aa3ad").encode(y="y:Q")
    return alt.layer(zero, band, line).properties(height=220)


def show_weights(table: pd.DataFrame, ranking: Ranking) -> None:
    st.subheader("What moves an item")
    st.altair_chart(weight_chart(table), width="stretch")
    if ranking.trees is not None:
        st.caption(how_it_sums(ranking))
    st.caption(
        "The mean over candidates, with its 95 % interval over users, of how far the features of a "
        "group put an item above or below the mean of its list. Features that say the same in "
        "other words are one group, for they share their work in no fixed way."
    )
    listed = table.assign(
        features=[", ".join(reading(name).says for name in names) for names in table["features"]]
    )
    with st.expander("The features of each group"):
        shown = (
            listed if table["share of the gain"].any() else listed.drop(columns="share of the gain")
        )
        st.dataframe(
            shown,
            hide_index=True,
            column_config={
                "share of the gain": st.column_config.NumberColumn(
                    format="percent", help="Of all splits of the trees, as LightGBM counts it."
                ),
                **{
                    n: st.column_config.NumberColumn(format="%.3f")
                    for n in ("moves", "low", "high")
                },
            },
        )


def show_effects(reference: str, state: str, table: pd.DataFrame) -> None:
    st.subheader("How the score follows a feature")
    every = [name for names in table["features"] for name in names]
    first = [names[0] for names in table["features"]][:SHOWN]
    chosen = st.multiselect(
        "Features", every, default=first, format_func=lambda name: reading(name).line
    )
    found = effects(reference, state, tuple(chosen))
    for start in range(0, len(found), IN_A_ROW):
        for place, effect in zip(
            st.columns(IN_A_ROW), found[start : start + IN_A_ROW], strict=False
        ):
            known = reading(effect.feature)
            with place:
                st.markdown(f"**{known.group}**")
                st.caption(known.says)
                st.altair_chart(effect_chart(effect, known), width="stretch")
                if effect.unknown:
                    st.caption(f"Not known of {effect.unknown:.0%} of the candidates.")
    still = [name for name in chosen if name not in {effect.feature for effect in found}]
    if still:
        names = "; ".join(reading(name).line for name in still)
        st.caption(f"The same for all candidates of the sample: {names}.")
    st.caption(
        "Accumulated local effects (Apley and Zhu 2020): what the score gains on the way from one "
        "value to the next, for candidates that have about this value, all else as it is; 0 is the "
        "mean candidate. The band is the 95 % interval over users. Deviations, of scores and of "
        "features, are those among the candidates of one user."
    )


def main() -> None:
    st.title("What decides")
    model = recommender_in_use()
    if model is None:
        return
    try:
        recommender = loaded(model.reference)
        ranking, state = recommender.bundle.ranking, recommender.fingerprint
        st.caption(how_it_ranks(ranking))
        if ranking.lift.by:
            st.caption(f"{ranking.lift.line[:1].upper()}{ranking.lift.line[1:]}.")
        sample = sampled(model.reference, state)
        table = weight_table(model.reference, state)
        if table.empty:
            st.info("No candidate is ranked above another: there is nothing to weigh.")
            return
        st.caption(
            f"From {len(sample.user):,} candidates of {sample.users:,} users, as they are now."
        )
        show_weights(table, ranking)
        show_effects(model.reference, state, table)
    except TriptychError as error:
        st.error(str(error))


if __name__ == "__main__":
    main()
