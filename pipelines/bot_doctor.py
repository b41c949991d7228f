"""`triptych data doctor chatbot`: what is wrong with a bot's data, and copies with the fixes."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.chatbot.doctor.examination import Examination, chosen, examine
from apps.chatbot.doctor.fixing import Fixed, write_fixed
from apps.chatbot.doctor.folder import FIXED_FOLDER, save
from apps.chatbot.doctor.learned_checks import Judged, judge_rows
from apps.chatbot.doctor.reading import BotData, Sources, read_bot_data
from apps.chatbot.opening import chatbot_settings
from shared.inference.model_encoders import open_base_encoder
from shared.pretrained import resolve
from shared.settings import Home, wanted_device


@dataclass(frozen=True)
class Doctored:
    """folder: where findings and report are. fixed: None where no fix was asked for."""

    found: Examination
    folder: Path
    fixed: Fixed | None


def doctor(
    sources: Sources,
    home: Home,
    *,
    output: Path | None,
    fix: Sequence[str],
    overwrite: bool,
    base: str | None,
    seed: int,
    threads: int | None,
    say: Callable[[str], None],
) -> Doctored:
    """Examine, write findings and report, and the copies that were asked for.

    output: by default a folder of the home, which the page shows. base: None leaves out what needs
    a model.
    Raises: DataError: the files, the fixes named, or where to write. ModelError: the base encoder.
        SettingsError: [chatbot] in triptych.toml.
    """
    data = read_bot_data(sources, home, say)

    def judge(each: BotData) -> Judged:
        encoder = resolve(base or "", cache=home.cache)
        device = wanted_device(None, os.environ)
        embedder = open_base_encoder(encoder, cache=home.cache, threads=threads, device=device)
        return judge_rows(each, embedder, seed=seed, threads=threads or 2, say=say)

    hours = chatbot_settings().handover.hours
    found = examine(data, judge if base is not None else None, always_open=not hours)
    mended = chosen(found.findings, fix)
    folder = output or folder_of(home, sources)
    save(found, sources, folder)
    if not fix:
        return Doctored(found, folder, None)
    fixed = write_fixed(mended, sources, data, folder / FIXED_FOLDER, overwrite=overwrite)
    return Doctored(found, folder, fixed)


def folder_of(home: Home, sources: Sources) -> Path:
    """The home's folder for what is found in these files."""
    return home.doctor / sources.examples[0].name.split(".")[0]
