"""A report's figures on decisions, counted again from what the bot itself says."""

from collections.abc import Callable

import pytest

from apps.chatbot.bot import Bot
from apps.chatbot.judgement import judge
from shared.training.examples import from_rows

ASKED = {
    "is my parcel tracking": "track",
    "refund money": "refund",
    "hours please": "password",  # mislabelled: no set holds it but one that holds all
    "where login": "password",
    "bicycle": "repairs",  # an intent the bot does not know
}


def test_coverage_is_the_share_of_questions_whose_set_holds_their_intent(
    new_bot: Callable[[], Bot],
) -> None:
    bot = new_bot()
    rows = from_rows(list(ASKED), [(label,) for label in ASKED.values()], "single")
    report = judge(bot, rows, (), title="", data="", rivals={}, seed=1, notes=())
    named = {measure.name: measure for measure in report.measures}
    sets = [said.conformal for said in bot.classifier.predict(bot.read(rows.texts), alpha=0.1)]
    held = [label in found for label, found in zip(ASKED.values(), sets, strict=True)]
    assert 0 < sum(held) < len(held) - 1
    assert named["conformal coverage"].value == pytest.approx(sum(held) / len(held))
    assert "a conformal coverage of 90.0% is promised" in report.notes
