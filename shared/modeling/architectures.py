"""Names inside the transformers that adapters know."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Names inside a transformer. attention: what LoRA is put beside. scaled: the keys, values and
    outputs that IA3 stretches; outputs: those among them that it stretches on their way in.
    """

    attention: tuple[str, ...]
    scaled: tuple[str, ...]
    outputs: tuple[str, ...]


_BERT = Architecture(("query", "value"), ("key", "value", "output.dense"), ("output.dense",))
ARCHITECTURES: Mapping[str, Architecture] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": _BERT,
    "mpnet": Architecture(("q", "v"), ("k", "v", "output.dense"), ("output.dense",)),
    "distilbert": Architecture(("q_lin", "v_lin"), ("k_lin", "v_lin", "lin2"), ("lin2",)),
}
