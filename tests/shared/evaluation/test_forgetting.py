"""What was forgotten is found label by label, on rows that taught neither version."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from shared.errors import ModelError
from shared.evaluation.drift import drift
from shared.evaluation.forgetting import FILE, forgotten, forgotten_in_common, keep_texts, recall
from shared.evaluation.outcomes import common_rows, label_scores, save_outcomes, text_outcomes
from shared.evaluation.robustness import AS_THEY_ARE, Judged, Score, helps, slips_table, under_slips
from shared.evaluation.side_by_side import PairedFigure, Part, paired_figures

LABELS = ("pay", "refund", "arrive")


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A version that was right on all of 36 rows but one; one row holds a card number."""
    words = ("alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima").split()
    texts = [f"{word} {label} question" for label in LABELS for word in words]
    texts[0] = "my card is 4111 1111 1111 1111"
    labels = [(label,) for label in LABELS for _ in words]
    scores = np.ones(36)
    scores[35] = 0
    outcomes = text_outcomes(
        "intent", texts, labels, scores, groups=np.arange(36), known_words=set(), decisions=texts
    )
    save_outcomes([outcomes], tmp_path)
    keep_texts([outcomes], tmp_path)
    return tmp_path


def knows(*names: str) -> "NewVersion":
    return NewVersion(names)


class NewVersion:
    """Right on every row of the labels it knows; remembers what it was asked."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.asked: list[str] = []

    def __call__(
        self, texts: Sequence[str], labels: Sequence[tuple[str, ...]]
    ) -> NDArray[np.float64]:
        self.asked += texts
        return np.array([float(label in self.names) for (label,) in labels])


def test_a_label_that_is_no_longer_known_is_named(earlier: Path) -> None:
    new = knows("pay", "arrive")
    (table,) = forgotten(earlier, "bot@1", [recall("intent", new.names, (), new)])
    figures = {figure.part: figure for figure in table.figures}
    assert (figures["refund"].n, figures["refund"].before, figures["refund"].after) == (12, 1, 0)
    # Twelve lost, none won; of three labels only this one could fail at all.
    assert figures["refund"].worse == pytest.approx(0.5**12)
    assert figures["pay"].n == 11  # the row with the card number was not kept
    assert figures["pay"].worse == 1.0
    assert figures["all rows"].before == pytest.approx(34 / 35)
    assert "no longer knows refund" in table.line
    assert table.figures[1].part == "refund"  # the worst first
    assert not any("4111" in text for text in new.asked)
    assert "4111" not in (earlier / FILE).read_text()


def test_rows_that_teach_the_new_version_count_only_as_they_were_held_out(earlier: Path) -> None:
    taught = ["bravo refund question", "charlie refund question", "something else"]

    def held_out(rows: NDArray[np.int64], truth: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        assert [taught[row] for row in rows] == taught[:2]
        assert list(truth) == [("refund",)] * 2
        return np.array([0.0, np.nan])

    new = knows(*LABELS)
    (table,) = forgotten(earlier, "bot@1", [recall("intent", LABELS, taught, new, held_out)])
    refund = next(figure for figure in table.figures if figure.part == "refund")
    assert refund.n == 11  # charlie had no score from models that had not seen it
    assert refund.after == pytest.approx(10 / 11)
    (unknown,) = forgotten(earlier, "bot@1", [recall("intent", LABELS, taught, new)])
    assert next(f for f in unknown.figures if f.part == "refund").n == 10
    assert "nothing forgotten beyond noise" in unknown.line


def test_nothing_in_common_is_said_and_nothing_kept_gives_no_table(
    earlier: Path, tmp_path: Path
) -> None:
    new = knows("pay")
    everything = recall("intent", ("pay",), (), lambda texts, _: np.full(len(texts), np.nan))
    (table,) = forgotten(earlier, "bot@1", [everything])
    assert table.figures == ()
    assert "no row to compare on; no longer knows arrive, refund" in table.line
    (tmp_path / "older").mkdir()
    assert forgotten(tmp_path / "older", "bot@0", [recall("intent", (), (), new)]) == ()
    (earlier / FILE).write_text("no json")
    with pytest.raises(ModelError, match="damaged texts of held-out rows"):
        forgotten(earlier, "bot@1", [recall("intent", (), (), new)])


def test_users_whom_both_reports_have_are_compared_without_texts() -> None:
    def users(scores: Sequence[float], names: Sequence[str]) -> list[object]:
        return [
            text_outcomes("users", names, [()] * len(names), np.array(scores), known_words=set(),
                          groups=np.arange(len(names)), decisions=names)
        ]  # fmt: skip

    old = users([1.0] * 7, [f"user {n}" for n in range(7)])
    new = users([0.0] * 6, [f"user {n}" for n in range(1, 7)])
    (table,) = forgotten_in_common(common_rows(new, old), "shop@1")  # type: ignore[arg-type]
    assert [(f.part, f.n, f.before, f.after) for f in table.figures] == [("all rows", 6, 1, 0)]
    assert "worse beyond noise on all rows (1.00 to 0.00)" in table.line


def test_paired_figures_are_the_exact_test_in_both_directions() -> None:
    lost, won = paired_figures(
        [Part("lost", [1] * 7, [0] * 7), Part("won", [0] * 8 + [1], [1] * 9)]
    )
    # Both tests of a family could fail, for rows changed in both parts.
    assert (lost.before, lost.after) == (1, 0)
    assert won.before == pytest.approx(1 / 9)
    assert lost.worse == pytest.approx(2 * 0.5**7)
    assert won.better == pytest.approx(2 * 0.5**8)
    assert lost.low < lost.high <= 0 <= won.low < won.high


def test_scores_of_label_sets_are_their_f1() -> None:
    given = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]], dtype=bool)
    truth = [("a",), ("b",), (), ("strange",), ("a", "strange")]
    expected = [2 / 3, 1, 1, 0, 2 / 3]
    np.testing.assert_allclose(label_scores(given, ("a", "b", "c"), truth), expected)


def test_an_encoder_that_only_turned_has_not_moved_and_one_that_forgot_all_is_at_chance() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(60, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
    same = drift(vectors, vectors @ turn)
    assert same.spearman == pytest.approx(1, abs=1e-6)
    assert same.overlap == pytest.approx(1, abs=0.01)
    other = rng.normal(size=(60, 8))
    other = (other / np.linalg.norm(other, axis=1, keepdims=True)).astype(np.float32)
    lost = drift(vectors, other)
    assert abs(lost.spearman) < 0.1
    assert lost.overlap == pytest.approx(lost.chance, abs=0.06)
    # By hand, pair by pair.
    pairs = [(i, j) for i in range(60) for j in range(i + 1, 60)]
    by_hand = stats.spearmanr(
        [float(vectors[i] @ vectors[j]) for i, j in pairs],
        [float(other[i] @ other[j]) for i, j in pairs],
    ).statistic
    assert lost.spearman == pytest.approx(by_hand, abs=1e-6)


def test_a_remedy_is_kept_for_slips_nobody_taught_and_not_at_the_cost_of_other_rows() -> None:
    rows = Judged([f"question number {n} of them" for n in range(40)], [("x",)] * 40,
                  np.arange(40))  # fmt: skip
    clean = set(rows.texts)

    def right(on_clean: float, on_slips: float) -> Score:
        def score(texts: Sequence[str], _: object) -> NDArray[np.float64]:
            share = [on_clean if text in clean else on_slips for text in texts]
            return np.array([float(n < s * len(texts)) for n, s in enumerate(share)])

        return score

    better = under_slips(right(0.9, 0.4), right(0.9, 0.8), rows)
    assert better[0].part == AS_THEY_ARE
    # A row whose only slip swaps two equal letters is not altered.
    assert (better[0].n, len(better)) == (40, 3)
    assert min(figure.n for figure in better) >= 38
    assert helps(better)
    assert not helps(under_slips(right(0.9, 0.4), right(0.9, 0.4), rows))
    assert not helps(under_slips(right(0.9, 0.4), right(0.5, 0.9), rows))
    assert not helps(better[:1])
    table = slips_table(["x"], right(0.9, 0.4), right(0.9, 0.8), rows, task="intent", seed=13)
    assert table.figures == better
    assert "rows as they are .900 to .900 (40 rows)" in table.line


def test_of_many_rows_some_are_altered_each_with_its_own_label() -> None:
    rows = Judged([f"row number {n}" for n in range(50)], [(str(n),) for n in range(50)],
                  np.arange(50))  # fmt: skip
    some = rows.drawn(20, seed=3)
    assert len(set(some.texts)) == 20
    assert [text.split()[-1] for text in some.texts] == [label for (label,) in some.labels]
    assert some.groups.tolist() == sorted(some.groups.tolist())
    assert rows.drawn(50, seed=3).texts == rows.texts


def test_the_figure_of_a_part_is_no_better_for_being_unsure() -> None:
    untaught = PairedFigure("slips", 40, 0.4, 0.5, -0.1, 0.3, 1.0, 0.2)
    clean = PairedFigure(AS_THEY_ARE, 40, 0.9, 0.9, -0.1, 0.1, 1.0, 1.0)
    assert not helps([clean, untaught, untaught])
