"""From a fine-tuned encoder to the adapter that it is kept as, where its method allows that.

LoRA and AdaLoRA (whose ranks are final once training is over) only ever add low-rank matrices to
some products. IA3 scales whole columns, prompt tuning lengthens the token table and full
fine-tuning moves everything: those encoders are kept whole.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from shared.atomic import write_text
from shared.errors import ModelError
from shared.inference.export import FEWEST_PROBES, export_int8
from shared.inference.parity import PARITY_FILE, ParityGate, compare
from shared.inference.probes import PROBE_TEXTS
from shared.inference.runtime import ONNX_FOLDER, AdaptableEmbedder, Embedder, load_embedder
from shared.modeling.adapter import ADAPTER_FILE, FACTORS_FILE, Adapter, Factors
from shared.modeling.encoder import Encoder
from shared.modeling.text_model import HEAD_WEIGHTS_FILE, HEADS_FILE, TextModel
from shared.pretrained import PretrainedEncoder
from shared.training.methods import merge_adapter
from shared.training.options import TrainOptions
from shared.training.run_results import RESULT_FILE

# Inside the folder of a run, until it is decided which of the two is kept.
ADAPTER_FOLDER = "adapter"
# What is kept beside an adapter: small, and nowhere else.
_KEPT = {HEADS_FILE, HEAD_WEIGHTS_FILE, RESULT_FILE}


def save_trained(model: TextModel | Encoder, base: PretrainedEncoder, folder: Path) -> None:
    """Write the model whole into `folder`, what it learned merged into its weights, and beside it
    what can be kept instead of them (ADAPTER_FOLDER), if anything can."""
    encoder = model if isinstance(model, Encoder) else model.encoder
    adapter = take_adapter(encoder, base)
    merge_adapter(encoder)
    model.to("cpu").save(folder)
    if adapter is not None:
        adapter.save(folder / ADAPTER_FOLDER)


def take_adapter(encoder: Encoder, base: PretrainedEncoder) -> Adapter | None:
    """What training added to `base`, read off before the adapter is merged into its weights.

    None where the method added something else than low-rank matrices, or nothing at all.
    """
    factors = {}
    for name, module in encoder.model.named_modules():
        if hasattr(module, "lora_A"):
            found = _factors(module)
            if found.up.size:
                factors[name.removeprefix("base_model.model.")] = found
    if not factors:
        return None
    return Adapter(factors, base.sha256, encoder.max_length)


def _factors(module: Any) -> Factors:
    """LoRA: B A s. AdaLoRA: B (E A) s / rank, without the ranks it has taken away (E = 0); the
    1e-5 is PEFT's. Sources: Hu et al. 2021, Zhang et al. 2023."""
    (name,) = module.lora_A.keys()
    scale = module.scaling[name]
    with torch.no_grad():
        if hasattr(module, "lora_E"):
            strength = module.lora_E[name][:, 0]
            alive = strength != 0
            down = (module.lora_A[name] * module.lora_E[name])[alive]  # (rank, in)
            up = module.lora_B[name][:, alive] * (scale / (module.ranknum[name] + 1e-5))
        else:
            down, up = module.lora_A[name].weight, module.lora_B[name].weight * scale
        return Factors(*(part.T.float().cpu().contiguous().numpy() for part in (down, up)))


def finetuned_embedder(
    folder: Path,
    *,
    embedder: Embedder,
    probes: Sequence[str],
    options: TrainOptions,
    say: Callable[[str], None],
    gate: ParityGate | None = None,
) -> Embedder:
    """The encoder that a run left in `folder`, as it will be served, and the folder as it is kept.

    embedder: of the base encoder. probes: texts on which the encoder as served must agree with the
    merged one in fp32. An adapter that passes is all that is kept, to be served on a base encoder
    with the vectors of `embedder`; otherwise the whole encoder is, in int8 where that passes. With
    fewer than 3 probes the packaged ones judge the adapter, and a whole encoder stays in fp32.
    """
    enough = len(probes) >= FEWEST_PROBES
    if (folder / ADAPTER_FOLDER / ADAPTER_FILE).is_file():
        adapted = _judged(
            folder, embedder, probes if enough else PROBE_TEXTS, options, gate or ParityGate(), say
        )
        shutil.rmtree(folder / ADAPTER_FOLDER)
        if adapted is not None:
            return adapted
    if enough:
        export_int8(folder, folder / ONNX_FOLDER, probes, gate, threads=options.threads)
    return load_embedder(folder, threads=options.threads, device=options.device)


def _judged(
    folder: Path,
    embedder: Embedder,
    probes: Sequence[str],
    options: TrainOptions,
    gate: ParityGate,
    say: Callable[[str], None],
) -> Embedder | None:
    """The adapter on the base encoder if it passes, and then the folder is left with it alone."""
    adapter = Adapter.load(folder / ADAPTER_FOLDER)
    adapter = replace(adapter, base_fingerprint=embedder.fingerprint)
    try:
        if not isinstance(embedder, AdaptableEmbedder):
            raise ModelError(f"{type(embedder).__name__} serves no adapters")
        adapted = embedder.with_adapter(adapter)
    except ModelError as error:
        say(f"The fine-tuned encoder is kept whole: {error}")
        return None
    whole = load_embedder(folder, precision="fp32", threads=options.threads, device=options.device)
    parity = compare(whole.encode(probes), adapted.encode(probes))
    failures = parity.failures(gate)
    if failures:
        say(f"The fine-tuned encoder is kept whole, its adapter missed: {'; '.join(failures)}")
        return None
    _keep_only(folder, adapter)
    judged = {
        "fingerprint": adapted.fingerprint,
        "texts": len(probes),
        "gate": asdict(gate),
        "parity": asdict(parity),
    }
    write_text(folder / PARITY_FILE, json.dumps(judged, indent=2) + "\n")
    size = (folder / FACTORS_FILE).stat().st_size / 1e6
    say(
        f"The fine-tuned encoder is kept as an adapter of {size:.1f} MB on the base encoder "
        f"(cosine to the merged one in fp32: mean {parity.cosine_mean:.4f}, "
        f"least {parity.cosine_min:.4f})"
    )
    return adapted


def _keep_only(folder: Path, adapter: Adapter) -> None:
    """The adapter in the place of the whole encoder."""
    whole = [path for path in folder.iterdir() if path.name not in {*_KEPT, ADAPTER_FOLDER}]
    adapter.save(folder)
    for path in whole:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
