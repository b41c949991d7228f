"""What a command waits for before it begins."""

import subprocess
import sys


def test_a_training_without_fine_tuning_waits_for_no_library_of_it() -> None:
    """torch and transformers take seconds to import; the recommender's own model needs torch."""
    program = (
        "import sys\n"
        "import pipelines.train, apps.chatbot.recipe, apps.news_monitor.recipe\n"
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)\n"
        "import apps.recommender.recipe\n"
        "assert not {'peft', 'sentence_transformers'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
