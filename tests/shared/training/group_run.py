"""Fine-tunes a tiny model: run alone, by torchrun, or with a number of processes to start.

python group_run.py ENCODER FOLDER PROCESSES
"""

import os
import sys
from pathlib import Path

from pipelines.training_processes import main_process, other_process
from shared.modeling.heads import HeadSpec
from shared.pretrained import PretrainedEncoder
from shared.training.batches import HeadTask
from shared.training.examples import from_rows
from shared.training.finetune import finetune_classifier
from shared.training.options import TrainOptions

LABELS = ("card", "money", "tea")


def tasks() -> list[HeadTask]:
    """65 rows in batches of 16: the last batch of an epoch holds a single row."""
    words = {"card": "my card is lost", "money": "the money is late", "tea": "a red cup of tea"}
    ends = ("please", "when", "where", "help", "now", "the bank", "my shoe", "hello", "is it")
    rows = [(f"{words[LABELS[n % 3]]} {ends[n % 9]} {n}", (LABELS[n % 3],)) for n in range(95)]
    train, held = (
        from_rows([text for text, _ in part], [label for _, label in part], "single")
        for part in (rows[:65], rows[65:])
    )
    return [HeadTask(HeadSpec("intent", "single", LABELS), train, held)]


def main(encoder: Path, folder: Path, count: int) -> None:
    if os.environ.get("RANK", "0") != "0":
        other_process()
        return
    with main_process(count, 1, "cpu"):
        done = finetune_classifier(
            tasks(),
            encoder=PretrainedEncoder("tiny", encoder, "", "0" * 64, "none"),
            options=TrainOptions(
                method="full", epochs=9, batch_size=16, learning_rate=1e-3, threads=1,
                bf16=False, device="cpu", patience=9, warm_start=False,
                # Each process draws masks of its own: nothing could be compared.
                dropout=0.0,
            ),
            folder=folder,
            say=print,
        )  # fmt: skip
    print(f"steps {done.steps}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
