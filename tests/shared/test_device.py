"""Which device is chosen, and what is said where it is not there.

No GPU is needed: what computes is given tensors of the device "meta", which refuses, as a GPU does,
to be mixed with tensors of the processor.
"""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from apps.recommender.sequence_model import SequenceModel
from shared import device
from shared.device import Device, choose_device, serving_device
from shared.errors import SettingsError
from shared.inference import runtime
from shared.inference.runtime import int8_fingerprint, load_embedder
from shared.inference.torch_runtime import TorchEmbedder
from shared.modeling.encoder import Encoder
from shared.modeling.encoder_folder import read_encoder_folder

NOWHERE: dict[str, bool] = {}
NVIDIA = {"cuda": True}
APPLE = {"mps": True}


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("auto", NOWHERE, "cpu"),
        ("auto", NVIDIA, "cuda"),
        ("auto", APPLE, "mps"),
        ("auto", {"cuda": False, "mps": False}, "cpu"),
        ("cpu", NVIDIA, "cpu"),
        ("cuda", NVIDIA, "cuda"),
        ("mps", APPLE, "mps"),
    ],
)
def test_the_fastest_device_is_chosen_unless_one_is_asked_for(
    wanted: Device, there: dict[str, bool], chosen: str
) -> None:
    assert choose_device(wanted, there) == chosen


def test_a_device_that_is_not_there_is_one_line() -> None:
    with pytest.raises(SettingsError) as caught:
        choose_device("cuda", APPLE)
    assert (
        str(caught.value) == "device = 'cuda': this machine has mps, cpu; use auto or one of these"
    )


def test_a_service_without_a_gpu_does_not_import_torch_to_find_out() -> None:
    program = (
        "import sys\n"
        "from shared import device\n"
        "device.DRIVER_FILES = ()\n"
        "assert device.serving_device('auto') == device.serving_device('cpu') == 'cpu'\n"
        "assert 'torch' not in sys.modules\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU says")
def test_a_driver_without_a_torch_that_knows_it_is_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device, "DRIVER_FILES", (tmp_path,))
    assert serving_device("auto") == "cpu"


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU says")
def test_cuda_asked_for_and_not_there_is_refused_before_the_encoder_is_read(
    tiny_encoder: Path,
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_embedder(tiny_encoder, device="cuda")
    assert str(caught.value) == "device = 'cuda': this machine has cpu; use auto or one of these"


def test_int8_vectors_stay_on_the_processor_and_cuda_for_them_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tiny_encoder: Path
) -> None:
    def a_machine_with_a_gpu(wanted: Device) -> str:
        return "cpu" if wanted == "cpu" else "cuda"

    monkeypatch.setattr(runtime, "serving_device", a_machine_with_a_gpu)
    found = read_encoder_folder(tiny_encoder)
    assert runtime._place(found, "auto", int8_fingerprint(found), "auto") == "cpu"
    assert runtime._place(found, "int8", None, "auto") == "cpu"
    assert runtime._place(found, "auto", None, "auto") == "cuda"
    assert runtime._place(found, "auto", None, "cpu") == "cpu"
    with pytest.raises(SettingsError) as caught:
        load_embedder(tiny_encoder, fingerprint=int8_fingerprint(found), device="cuda")
    assert str(caught.value) == (
        f"device = 'cuda': {found.path} is asked for int8 vectors, which are computed on "
        "processors; use auto or cpu, or train again with --device cuda"
    )


class _Table(nn.Module):
    """A transformer of one embedding: what it is given must be where it is."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(200, 32)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        assert attention_mask.device == input_ids.device == self.words.weight.device
        return SimpleNamespace(last_hidden_state=self.words(input_ids))


def test_the_torch_runtime_puts_weights_and_tokens_on_its_device(tiny_encoder: Path) -> None:
    tokenizer = Encoder.from_pretrained(tiny_encoder).tokenizer
    encoder = Encoder(_Table(), tokenizer, dim=32)
    embedder = TorchEmbedder(encoder, fingerprint="f", precision="bf16", device="meta")
    # It gets as far as the result, which a meta tensor does not have.
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
        embedder.encode(["my card is lost"])
    assert {p.device.type for p in encoder.parameters()} == {"meta"}
    assert {p.dtype for p in encoder.parameters()} == {torch.bfloat16}


def test_the_sequence_model_makes_its_tensors_where_its_weights_are() -> None:
    model = SequenceModel(
        torch.zeros(12, 8), hidden=16, length=5, decay=0.5, temperature=0.1, dropout=0.0
    ).to("meta")
    rows = torch.zeros(15, dtype=torch.long, device="meta")
    vectors = model.items(rows).view(3, 5, 8)
    weights = torch.ones(3, 5, device="meta")
    assert model.users(vectors, weights).device.type == "meta"
