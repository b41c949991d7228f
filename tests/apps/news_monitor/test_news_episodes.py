"""The state machine, evaluation by evaluation."""

import numpy as np

from apps.news_monitor.episodes import EpisodeRule, Episodes, Phase, advance

U = np.array([4.0])


def walk(
    scores: list[float], rule: EpisodeRule, calm: list[bool] | None = None
) -> list[tuple[Phase, bool, bool, bool]]:
    """(phase, opened, resolved, reopened) after each hourly score."""
    state = Episodes.quiet(1)
    steps = []
    for hour, score in enumerate(scores):
        quiet = score < 2.0 if calm is None else calm[hour]
        state, change = advance(state, np.array([score]), np.array([quiet]), hour, U, rule)
        steps.append(
            (
                Phase(int(state.phase[0])),
                bool(change.opened[0]),
                bool(change.resolved[0]),
                bool(change.reopened[0]),
            )
        )
    return steps


def test_one_look_above_the_threshold_waits_for_a_second() -> None:
    steps = walk([4.5, 0.0, 4.5, 4.2], EpisodeRule())
    assert [s[0] for s in steps] == [Phase.PENDING, Phase.QUIET, Phase.PENDING, Phase.FIRING]
    assert [s[1] for s in steps] == [False, False, False, True]


def test_a_jump_fires_at_once() -> None:
    assert walk([6.0], EpisodeRule())[0][:2] == (Phase.FIRING, True)


def test_a_daily_cadence_needs_no_second_look() -> None:
    assert walk([4.0], EpisodeRule(confirmations=1))[0][:2] == (Phase.FIRING, True)


def test_it_ends_only_when_the_score_has_halved_and_the_share_is_usual_twice() -> None:
    steps = walk(
        [6.5, 3.0, 1.0, 1.0, 1.0, 1.0],
        EpisodeRule(),
        calm=[False, True, False, True, True, True],
    )
    assert [s[0] for s in steps] == [Phase.FIRING] * 4 + [Phase.COOLING] * 2
    assert [s[2] for s in steps] == [False, False, False, False, True, False]


def test_a_return_while_cooling_continues_the_same_episode() -> None:
    rule = EpisodeRule(cooldown_hours=5)
    steps = walk([6.5, 0.0, 0.0, 4.5], rule)
    assert steps[2][2]
    assert steps[3] == (Phase.FIRING, False, False, True)


def test_after_cooling_a_new_episode_opens() -> None:
    rule = EpisodeRule(cooldown_hours=3)
    steps = walk([6.5, 0.0, 0.0, 0.0, 0.0, 6.5], rule)
    assert steps[2][2]
    assert steps[5] == (Phase.FIRING, True, False, False)


def test_cells_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(0)
    scores = rng.exponential(2.0, (400, 6))
    limits = np.linspace(2, 7, 6)
    rule = EpisodeRule()
    together = Episodes.quiet(6)
    alone = [Episodes.quiet(1) for _ in range(6)]
    for hour, row in enumerate(scores):
        together, change = advance(together, row, row < 1, hour, limits, rule)
        for i in range(6):
            one = slice(i, i + 1)
            alone[i], single = advance(alone[i], row[one], row[one] < 1, hour, limits[one], rule)
            assert single.opened[0] == change.opened[i]
        assert [int(a.phase[0]) for a in alone] == together.phase.tolist()
