"""The last step: trees (LambdaMART) over all that is known of the candidates, or, where they do
not beat it on users they have not seen, a weighted sum of the channels' standardised scores."""

import json
from dataclasses import dataclass
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
# Users of the part that chooses between trees and fusion, as a share of those with a hit.
JUDGES = 0.25
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


@dataclass(frozen=True, eq=False)
class Ranking:
    """weights: (len(FUSED),) of the fusion. trees: None where the fusion is better. judged: NDCG@10
    within the candidates of users who taught neither, name -> value.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    trees: lgb.Booster | None
    judged: dict[str, float]

    @property
    def kind(self) -> str:
        return "fusion" if self.trees is None else "trees"

    def fused(self, features: Features) -> Scores:
        """(m,)"""
        summed: Scores = (features.fused @ self.weights).astype(np.float32)
        return summed

    def score(self, features: Features, threads: int | None = None) -> Scores:
        """(m,) higher is better; comparable within a user only."""
        fused = self.fused(features)
        if self.trees is None:
            return fused
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
        told: Scores = np.asarray(
            self.trees.predict(_with_fused(known, fused), num_threads=threads or 0), np.float32
        )
        return told

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
        names = (*self.names, "fused")
        return {n: float(g / max(gains.sum(), 1e-9)) for n, g in zip(names, gains, strict=True)}


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
    quality = {"fusion": _ndcg(judged, (judged.features.fused @ weights).astype(np.float32))}
    trees = None
    if len(users) >= LEAST_LISTS:
        grown = _grow(teaching, weights, settings, seed, threads, judged)
        told = grown.predict(_with_fused(judged.features.values, judged.features.fused @ weights))
        quality["trees"] = _ndcg(judged, np.asarray(told, np.float32))
        if quality["trees"] > quality["fusion"]:
            weights = fit_fusion(usable)
            rounds = max(1, grown.best_iteration)
            trees = _grow(usable, weights, settings, seed, threads, None, rounds)
    if trees is None:
        weights = fit_fusion(usable)
    return Ranking(names, weights, trees, quality)


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
        feature_name=[*lists.features.names, "fused"],
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
    return Ranking(tuple(said["features"]), weights, trees, said["judged"])
