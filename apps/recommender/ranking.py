"""The last step: trees (LambdaMART) over all that is known of the candidates, or, where they do
not beat it on users they have not seen, a weighted sum of the channels' standardised scores."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from apps.recommender.features import COLD, FUSED, Features, Matrix
from apps.recommender.retrieval import CHANNELS, Rows, Scores
from apps.recommender.settings import RankingSettings
from shared.errors import ModelError

CONFIG = "ranking.json"
TREES = "ranking.txt"
# The trees' own name for the fusion, which is a feature to them.
SUMMED = "fused"
# Users of the part that chooses between trees and fusion, as a share of those with a hit.
JUDGES = 0.25
# How far new items may be lifted, in deviations of the scores within a list, and in what steps.
LIFTS = np.linspace(0.0, 1.5, 31)
# On fewer lists in which a new item was taken, what a lift brings would be chance.
LEAST_NEW = 10
# Too few lists to grow trees on: the fusion has five weights and is content with less.
LEAST_LISTS = 200


@dataclass(frozen=True, eq=False)
class TaughtLists:
    """Candidates with what became of them. user: (m,) sorted. gain: (m,) int, 0 for not taken."""

    features: Features
    user: Rows
    gain: Rows

    @property
    def starts(self) -> Rows:
        """First row of each user's list."""
        return np.flatnonzero(np.diff(self.user, prepend=-1))

    def keep(self, rows: NDArray[np.bool_] | Rows) -> "TaughtLists":
        known = self.features
        features = Features(known.names, known.values[rows], known.spreads)
        return TaughtLists(features, self.user[rows], self.gain[rows])


@dataclass(frozen=True)
class Lift:
    """by: added to the scores of items that nobody has taken, 0 for none. NDCG@10 within the
    candidates of users who taught nothing: of those who took a new item, without it and with it,
    and of those who took another.
    """

    by: float
    new_before: float
    new: float
    others_before: float
    others: float

    @property
    def line(self) -> str:
        """For a person."""
        if not self.by:
            return "new items are not lifted: it would bring nothing, or cost more than is allowed"
        price = 1 - self.others / self.others_before
        return (
            f"new items are lifted by {self.by:.3f}: NDCG@10 within the candidates "
            f"{self.new_before:.4f} -> {self.new:.4f} for those who took one, "
            f"{self.others_before:.4f} -> {self.others:.4f} for the others, a price of {price:.1%}"
        )


NO_LIFT = Lift(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Ranking:
    """weights: (len(FUSED),) of the fusion. trees: None where the fusion is better. judged: NDCG@10
    within the candidates of users who taught neither, name -> value. lift: of new items, see
    new_item_lift.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    trees: lgb.Booster | None
    judged: dict[str, float]
    lift: Lift = NO_LIFT

    @property
    def kind(self) -> str:
        return "fusion" if self.trees is None else "trees"

    def fused(self, features: Features) -> Scores:
        """(m,)"""
        summed: Scores = (features.fused @ self.weights).astype(np.float32)
        return summed

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the columns of `inputs`, as in Features; `x, cold` is x of new items alone."""
        if self.trees is None:
            return tuple(name if name == COLD else f"z_{name}" for name in FUSED)
        return (*self.names, SUMMED)

    def inputs(self, features: Features) -> Matrix:
        """(m, len(reads)) what the score is made of.

        Raises: ModelError: a feature that the trees were trained on is missing.
        """
        if self.trees is None:
            return features.fused
        missing = set(self.names) - set(features.names)
        if missing:
            raise ModelError(
                f"the ranking was trained on {len(self.names)} features, got "
                f"{len(features.names)}: {', '.join(sorted(missing))} missing"
            )
        # What is told beyond that came after the ranking was trained.
        known = features.values
        if features.names != self.names:
            known = known[:, [features.names.index(name) for name in self.names]]
        return _with_fused(known, self.fused(features))

    def score(self, features: Features, threads: int | None = None) -> Scores:
        """(m,) higher is better; comparable within a user only."""
        return self.scores_of(self.inputs(features), threads)

    def scores_of(self, inputs: Matrix, threads: int | None = None) -> Scores:
        """(m,) the score of each row of `inputs`."""
        lifted: Scores = (self.lift.by * inputs[:, self.reads.index(COLD)]).astype(np.float32)
        if self.trees is None:
            summed: Scores = (inputs @ self.weights).astype(np.float32)
            return summed + lifted
        told: Scores = np.asarray(self.trees.predict(inputs, num_threads=threads or 0), np.float32)
        return told + lifted

    def parts_of(self, inputs: Matrix, threads: int | None = None) -> NDArray[np.float64]:
        """(m, len(reads)) what each column brings to each score: the columns' sum and a constant
        are the score. Of trees their Shapley values (TreeSHAP, Lundberg, Erion and Lee 2018).
        """
        if self.trees is None:
            parts = inputs * self.weights
        else:
            told = self.trees.predict(inputs, num_threads=threads or 0, pred_contrib=True)
            parts = np.asarray(told, np.float64)[:, :-1]
        cold = self.reads.index(COLD)
        parts[:, cold] += self.lift.by * inputs[:, cold]
        return parts

    def channel_weights(self, cold: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(…, channels): what the fusion gives each channel's score of an item, cold or not."""
        warm, new = self.weights[: len(CHANNELS)], self.weights[len(CHANNELS) : 2 * len(CHANNELS)]
        weights: NDArray[np.float64] = np.where(cold[..., None], new, warm)
        return weights

    @property
    def importance(self) -> dict[str, float]:
        """Feature -> its share of the gain of all splits; of the fusion, share of the weights."""
        if self.trees is None:
            total = float(np.abs(self.weights).sum()) or 1.0
            return {n: abs(float(w)) / total for n, w in zip(FUSED, self.weights, strict=True)}
        gains = self.trees.feature_importance("gain")
        return {
            n: float(g / max(gains.sum(), 1e-9)) for n, g in zip(self.reads, gains, strict=True)
        }


def fit_ranking(
    lists: TaughtLists, *, settings: RankingSettings, seed: int, threads: int | None
) -> Ranking:
    """Fit both on three quarters of the users, judge on the rest, refit the better on all.

    TaughtLists without a hit teach nothing about an order and are left out.
    """
    names = lists.features.names
    usable = lists.keep(_with_hit(lists))
    if not len(usable.user):
        return Ranking(names, _even(), None, {})
    users = np.unique(usable.user)
    rng = np.random.default_rng(seed)
    judges = rng.permutation(users)[: max(1, round(JUDGES * len(users)))]
    judging = np.isin(usable.user, judges)
    teaching, judged = usable.keep(~judging), usable.keep(judging)
    if not len(teaching.user):
        return Ranking(names, _even(), None, {})
    weights = fit_fusion(teaching)
    scores = (judged.features.fused @ weights).astype(np.float32)
    quality = {"fusion": _ndcg(judged, scores)}
    trees = None
    if len(users) >= LEAST_LISTS:
        grown = _grow(teaching, weights, settings, seed, threads, judged)
        predicted = grown.predict(_with_fused(judged.features.values, scores))
        told = np.asarray(predicted, np.float32)
        quality["trees"] = _ndcg(judged, told)
        if quality["trees"] > quality["fusion"]:
            weights, scores = fit_fusion(usable), told
            rounds = max(1, grown.best_iteration)
            trees = _grow(usable, weights, settings, seed, threads, None, rounds)
    if trees is None:
        weights = fit_fusion(usable)
    lift = new_item_lift(judged, scores, settings.new_items_cost)
    return Ranking(names, weights, trees, quality, lift)


def new_item_lift(lists: TaughtLists, scores: Scores, cost: float) -> Lift:
    """What new items are lifted by: where, in lists that taught nothing, those who took one find it
    best, while the mean NDCG@10 of those who took another loses at most `cost` of itself.

    The ranking is taught by few new items and holds them back: what it knows of the others is
    surer. The least of lifts that bring the same; none where fewer than LEAST_NEW lists have a new
    item that was taken, or none another.
    """
    cold = lists.features.column(COLD) > 0
    new, other = _taken_of(lists, cold), _taken_of(lists, ~cold)
    if cost <= 0 or len(np.unique(lists.user[new])) < LEAST_NEW or not other.any():
        return NO_LIFT
    size = np.diff(np.append(lists.starts, len(lists.user)))
    mean = np.add.reduceat(scores, lists.starts) / size
    unit = float(np.sqrt(np.mean((scores - np.repeat(mean, size)) ** 2)))

    def ndcg(which: NDArray[np.bool_], marked: NDArray[np.bool_], lift: float) -> float:
        gain = np.where(marked, lists.gain, 0)[which]
        part = TaughtLists(lists.features, lists.user[which], gain)
        return _ndcg(part, (scores + lift * cold).astype(np.float32)[which])

    before = Lift(0.0, *2 * (ndcg(new, cold, 0.0),), *2 * (ndcg(other, ~cold, 0.0),))
    best = before
    for step in LIFTS[1:] * unit:
        others, reached = ndcg(other, ~cold, step), ndcg(new, cold, step)
        if others < (1 - cost) * before.others:
            break
        if reached > best.new:
            best = Lift(float(step), before.new, reached, before.others, others)
    return best


def _taken_of(lists: TaughtLists, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(m,) whether the row's list has a taken candidate among the marked ones."""
    _, place = np.unique(lists.user, return_inverse=True)
    taken: NDArray[np.bool_] = (np.bincount(place, marked & (lists.gain > 0)) > 0)[place]
    return taken


def fit_fusion(lists: TaughtLists) -> NDArray[np.float64]:
    """(len(FUSED),) weights that make the taken candidate likely in a softmax over its list
    (conditional logit, McFadden 1974). No channel is believed in reverse: none is below 0 but
    that of the flag.
    """
    values = lists.features.fused.astype(np.float64)
    starts = lists.starts
    place = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(values))))
    share = lists.gain / np.add.reduceat(lists.gain, starts)[place]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = values @ weights
        scores -= np.maximum.reduceat(scores, starts)[place]
        odds = np.exp(scores)
        total = np.add.reduceat(odds, starts)
        chance = odds / total[place]
        value = -(share * (scores - np.log(total)[place])).sum() / len(starts)
        slope = values.T @ (chance - share) / len(starts)
        return float(value + 1e-3 * weights @ weights), slope + 2e-3 * weights

    bounds = [(None, None) if name == COLD else (0.0, None) for name in FUSED]
    found = minimize(loss, _even(), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, np.float64)


def gains(worth: NDArray[np.float32]) -> Rows:
    """Grades for lambdarank: an event of weight 1 is 1, of 8 (a purchase) is 4, at most 5."""
    return np.clip(np.ceil(np.log2(1 + worth)), 1, 5).astype(np.int64)


def _even() -> NDArray[np.float64]:
    """The same for every channel, nothing for the rest."""
    return np.array([float(name.split(",")[0] in CHANNELS) for name in FUSED])


def _with_hit(lists: TaughtLists) -> NDArray[np.bool_]:
    """(m,) whether the row's list has a taken candidate and one that was not."""
    _, place = np.unique(lists.user, return_inverse=True)
    hits = np.bincount(place, lists.gain > 0)
    kept: NDArray[np.bool_] = ((hits > 0) & (hits < np.bincount(place)))[place]
    return kept


def _with_fused(values: Matrix, fused: NDArray[np.floating]) -> Matrix:
    return np.column_stack([values, fused.astype(np.float32)])


def _grow(
    lists: TaughtLists,
    weights: NDArray[np.float64],
    settings: RankingSettings,
    seed: int,
    threads: int | None,
    judged: TaughtLists | None,
    rounds: int | None = None,
) -> lgb.Booster:
    """Trees on a sample of what was not taken; stopped by `judged` if given."""
    rng = np.random.default_rng(seed)
    share = settings.negatives / max(1.0, len(lists.user) / len(lists.starts))
    lists = lists.keep((lists.gain > 0) | (rng.random(len(lists.user)) < share))
    data = _dataset(lists, weights)
    parameters = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "lambdarank_truncation_level": 20,
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": 50,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads or 0,
        "verbose": -1,
    }
    if judged is None:
        return lgb.train(parameters, data, num_boost_round=rounds or settings.rounds)
    return lgb.train(
        parameters,
        data,
        num_boost_round=settings.rounds,
        valid_sets=[_dataset(judged, weights, data)],
        callbacks=[lgb.early_stopping(30, verbose=False)],
    )


def _dataset(
    lists: TaughtLists, weights: NDArray[np.float64], reference: lgb.Dataset | None = None
) -> lgb.Dataset:
    values = _with_fused(lists.features.values, lists.features.fused @ weights)
    sizes = np.diff(np.append(lists.starts, len(lists.user)))
    return lgb.Dataset(
        values,
        lists.gain,
        group=sizes,
        feature_name=[*lists.features.names, SUMMED],
        reference=reference,
        free_raw_data=True,
    )


def _ndcg(lists: TaughtLists, scores: Scores, depth: int = 10) -> float:
    """Mean NDCG@10 of the lists, each taken candidate counting 1."""
    order = np.lexsort((-scores, lists.user))
    place = np.arange(len(order)) - np.searchsorted(lists.user, lists.user)
    hit = lists.gain[order] > 0
    discount = np.where(hit & (place < depth), 1 / np.log2(place + 2), 0.0)
    got = np.add.reduceat(discount, lists.starts)
    ideal = np.cumsum(1 / np.log2(np.arange(depth) + 2))
    wanted = np.add.reduceat((lists.gain > 0).astype(int), lists.starts)
    return float((got / ideal[np.minimum(wanted, depth) - 1]).mean())


def save_ranking(ranking: Ranking, folder: Path) -> None:
    """ranking.json, and ranking.txt (LightGBM's text format) where there are trees."""
    content = {
        "kind": ranking.kind,
        "features": ranking.names,
        "weights": dict(zip(FUSED, ranking.weights.tolist(), strict=True)),
        "judged": ranking.judged,
        "lift": asdict(ranking.lift),
        "importance": ranking.importance,
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=2) + "\n")
    if ranking.trees is not None:
        (folder / TREES).write_text(ranking.trees.model_to_string())


def load_ranking(folder: Path) -> Ranking:
    """Raises: ModelError when a file is missing or cannot be read."""
    path = folder / CONFIG
    if not path.is_file():
        raise ModelError(f"{path}: is missing from the model folder")
    said = json.loads(path.read_text())
    trees = None
    if said["kind"] == "trees":
        text = folder / TREES
        if not text.is_file():
            raise ModelError(f"{text}: is missing from the model folder")
        try:
            trees = lgb.Booster(model_str=text.read_text())
        except lgb.basic.LightGBMError as error:
            raise ModelError(f"{text}: is no LightGBM model: {error}") from None
    # A ranking saved before a term was known gives it none.
    weights = np.array([said["weights"].get(name, 0.0) for name in FUSED])
    lift = Lift(**said["lift"]) if "lift" in said else NO_LIFT
    return Ranking(tuple(said["features"]), weights, trees, said["judged"], lift)
