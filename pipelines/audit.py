"""`triptych audit`: behaviour tests of a released model, on its users' rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from shared.errors import DataError
from shared.evaluation.audit import AuditReport
from shared.registry import ModelVersion, Registry
from shared.settings import Home
from shared.tables import Column, read_table, sniff_columns

ROWS = 500  # texts that are perturbed, drawn where there are more


@dataclass(frozen=True)
class Audited:
    """The report and the page it was written to."""

    report: AuditReport
    page: Path


@dataclass(frozen=True)
class Labelled:
    """Rows of a table. labels: None where it has no such column."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None


def audit_model(
    app: str,
    reference: str,
    *,
    home: Home,
    input_file: Path | None,
    must_pass: Path | None,
    output: Path | None,
    mapping: Mapping[str, str],
    rows: int,
    seed: int,
    say: Callable[[str], None],
) -> Audited:
    """Test model `reference` and write the page.

    input_file: `text[,label]`; the recommender is tested on its own catalogue and takes none.
    must_pass: `text,label`. rows: at most so many texts. output: the page; by default under the
    home's reports.

    Raises:
        ModelError: no such model. DataError: the tables, or one that is missing or not wanted.
    """
    version = Registry(home.models, lambda: datetime.now(UTC)).resolve(reference, app=app)
    name = f"{version.name}@{version.version}"
    say(f"auditing {name}")
    if app == "recommender":
        if input_file is not None or must_pass is not None:
            raise DataError(
                "a recommender is audited on the catalogue inside the model: leave out --input "
                "and --must-pass"
            )
        report = _recommender(version, name, home, rows, seed)
    else:
        if input_file is None:
            raise DataError(
                f"--input is missing: a table `text[,label]` as the {app} meets them, such as the "
                "one for `triptych evaluate`"
            )
        read = _drawn(_labelled(input_file, mapping), rows, seed)
        report = _of_rows(
            app, version, name, home, read, _plain(must_pass, mapping), input_file.name, seed
        )
    page = output or home.reports / f"{version.name}-{version.version}-audit" / "audit.html"
    return Audited(report, report.write(page))


def _of_rows(
    app: str,
    version: ModelVersion,
    name: str,
    home: Home,
    read: Labelled,
    must_pass: Sequence[tuple[str, str]],
    source: str,
    seed: int,
) -> AuditReport:
    data = f"{len(read.texts)} rows of {source}"
    if app == "chatbot":
        from apps.chatbot.auditing import audit as audit_bot
        from apps.chatbot.bot import Bot

        return audit_bot(
            Bot.load(version.path, home=home),
            read.texts,
            read.labels,
            model=name,
            data=data,
            must_pass=must_pass,
            seed=seed,
        )
    from apps.news_monitor.auditing import audit as audit_labeller
    from apps.news_monitor.labelling import Labeller

    return audit_labeller(
        Labeller.load(version.path, home=home),
        read.texts,
        read.labels,
        model=name,
        data=data,
        must_pass=must_pass,
        seed=seed,
    )


def _recommender(version: ModelVersion, name: str, home: Home, rows: int, seed: int) -> AuditReport:
    from apps.recommender.auditing import audit, open_encoder
    from apps.recommender.bundle import load_bundle

    bundle = load_bundle(version.path)
    chosen = _draw(len(bundle.catalog), rows, seed)
    embedder = open_encoder(bundle.encoder, version.path, home)
    return audit(bundle, embedder, chosen, model=name, seed=seed)


def _labelled(path: Path, mapping: Mapping[str, str]) -> Labelled:
    has_labels = mapping.get("label", "label") in sniff_columns(path)
    names = ("text", "label") if has_labels else ("text",)
    chosen = {ours: theirs for ours, theirs in mapping.items() if ours in names}
    frame = read_table(path, [Column(each) for each in names], mapping=chosen).frame
    if frame.empty:
        raise DataError(f"{path}: no row has a text")
    labels = tuple(str(label).strip() for label in frame["label"]) if has_labels else None
    return Labelled(tuple(frame["text"]), labels)


def _plain(path: Path | None, mapping: Mapping[str, str]) -> list[tuple[str, str]]:
    """The simple cases of a table `text,label`."""
    if path is None:
        return []
    found = _labelled(path, mapping)
    if found.labels is None:
        raise DataError(f"{path}: must-pass cases need a column `label`")
    return list(zip(found.texts, found.labels, strict=True))


def _drawn(read: Labelled, rows: int, seed: int) -> Labelled:
    chosen = _draw(len(read.texts), rows, seed)
    labels = None if read.labels is None else tuple(read.labels[i] for i in chosen)
    return Labelled(tuple(read.texts[i] for i in chosen), labels)


def _draw(count: int, rows: int, seed: int) -> "np.typing.NDArray[np.int64]":
    """Row numbers in order, at most `rows` of them."""
    if count <= rows:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, rows, replace=False))
