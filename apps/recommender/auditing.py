"""What a recommender's text vectors are audited with.

A text is read by its neighbours: the NEAREST items of the catalogue to its whitened vector, which
is what the meaning channel, and every new item, stands on. Behaviour is not touched: the channels
that follow it have no text to perturb. An item that is written otherwise must still find itself
first, and keep at least KEPT of its neighbours.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.recommender.bundle import Bundle, EncoderNote
from shared.device import Device
from shared.evaluation.audit import AuditReport, Test, remembered, run_test
from shared.evaluation.audit_tests import (
    COMPANY,
    COUNTRY,
    Frame,
    gender_test,
    people_tests,
    writing_tests,
)
from shared.evaluation.perturbations import swapped_within
from shared.evaluation.swap_lists import COUNTRIES
from shared.inference.model_encoders import open_base_encoder, open_finetuned_encoder
from shared.inference.runtime import Embedder
from shared.pretrained import resolve
from shared.settings import Home, wanted_device
from shared.text import normalise

NEAREST = 10
KEPT = 5
SAME = f"the same item comes first, and {KEPT} of the {NEAREST} nearest stay"


@dataclass(frozen=True)
class NeighbourReading:
    """label: id of the nearest item; near: ids of the NEAREST items, the nearest first."""

    label: str
    said: str
    near: frozenset[str]

    def same_as(self, other: "NeighbourReading") -> bool:
        return self.label == other.label and len(self.near & other.near) >= KEPT

    def shift_to(self, other: "NeighbourReading") -> float:
        """Minus the share of the neighbours that are lost, 0 to -1."""
        return len(self.near & other.near) / max(len(self.near), 1) - 1.0


def battery() -> tuple[Test, ...]:
    """Every test that item texts can be put through."""
    seller = Frame("{text} Sold by {who}.", "{text}卖家：{who}。")
    return (
        *writing_tests(SAME, normalise),
        gender_test(SAME),
        Test("countries swapped", "bias", "invariance", SAME, swapped_within([COUNTRIES])),
        Frame("{text} Made in {who}.", "{text}产地：{who}。").test("made elsewhere", SAME, COUNTRY),
        seller.test("another seller", SAME, COMPANY),
        *people_tests("a seller", SAME, seller),
    )


def open_encoder(
    note: EncoderNote, folder: Path, home: Home, *, device: Device | None = None
) -> Embedder:
    """The encoder that made the vectors of the model in `folder`. device: by default that of the
    settings.

    Raises: ModelError: it is gone. SettingsError: the device is not there, or cannot compute them.
    """
    base, place = resolve(note.name, cache=home.cache), wanted_device(device, os.environ)

    def open_base(fingerprint: str) -> Embedder:
        return open_base_encoder(base, cache=home.cache, fingerprint=fingerprint, device=place)

    if note.folder:
        return open_finetuned_encoder(
            folder / note.folder, base=base, open_base=open_base, fingerprint=note.fingerprint,
            device=place,
        )  # fmt: skip
    return open_base(note.fingerprint)


def audit(
    bundle: Bundle,
    embedder: Embedder,
    rows: NDArray[np.int64],
    *,
    model: str,
    seed: int = 13,
) -> AuditReport:
    """rows: of the catalogue, the items whose texts are perturbed. embedder: the one whose vectors
    the bundle holds."""
    catalog, meaning = bundle.catalog, bundle.channels.meaning
    texts = [catalog.texts[row] for row in rows if catalog.texts[row]]

    def read(asked: Sequence[str]) -> list[NeighbourReading]:
        # As catalog.item_texts does when a catalogue is read.
        tidy = [normalise(text) for text in asked]
        vectors = bundle.whitening(embedder.encode(tidy, normalised=False))
        best = np.argsort(-(vectors @ meaning.T), axis=1, kind="stable")[:, :NEAREST]
        return [
            NeighbourReading(
                catalog.ids[row[0]],
                f"nearest: {catalog.titles[row[0]]}",
                frozenset(catalog.ids[i] for i in row),
            )
            for row in best
        ]

    reading = remembered(read)
    results = tuple(run_test(test, texts, reading, seed=seed) for test in battery())
    return AuditReport(
        f"Audit of {model}",
        "recommender",
        model,
        f"{len(texts)} item texts, by their {NEAREST} nearest items of {len(catalog)}",
        results,
        ("Shift: minus the share of the nearest items that are lost.",),
    )
