"""Settings: triptych.toml, over which the environment wins, into frozen pydantic models.

A section `[news]` of triptych.toml is read into a model that its owner declares; the variable
TRIPTYCH_NEWS__BATCH_SIZE replaces its key `batch_size`, and TRIPTYCH_NEWS__SMTP__HOST the key
`host` of its sub-table `smtp`. Secrets belong into the environment and are declared SecretStr,
so that no message prints them. Nothing is read from os.environ here: it comes as an argument,
which is why pydantic validates and pydantic-settings (which reads the process) does not load.
"""

import difflib
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SecretStr,
    ValidationError,
)

from shared.device import Device
from shared.errors import SettingsError

ENVIRONMENT_PREFIX = "TRIPTYCH_"
SETTINGS_FILE = "triptych.toml"
CORE_SECTION = "triptych"
HIDDEN = "'**********'"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Home:
    """Where a run keeps what it makes. Folders are named here and created by who fills them."""

    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def doctor(self) -> Path:
        """Findings of the data doctor, a folder for each table."""
        return self.reports / "doctor"

    @property
    def drafts(self) -> Path:
        """A list of the folders that past dialogues or another tool's bot were imported into."""
        return self.root / "drafts.json"

    @property
    def imports(self) -> Path:
        """What was imported on a page, a folder of drafts for each name."""
        return self.root / "imports"

    @property
    def uploads(self) -> Path:
        """Files that were given to a page."""
        return self.root / "uploads"

    @property
    def page_jobs(self) -> Path:
        """Commands that a page has started."""
        return self.root / "page_jobs"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    @property
    def indexes(self) -> Path:
        return self.root / "indexes"

    @property
    def database_url(self) -> str:
        """The SQLite file of this home; `database_url` in the settings replaces it."""
        return f"sqlite:///{self.root / 'triptych.db'}"


def default_home(environ: Mapping[str, str]) -> Home:
    """TRIPTYCH_HOME, else data/var of the checkout (of the working folder if there is none)."""
    named = environ.get("TRIPTYCH_HOME", "").strip()
    if named:
        return Home(Path(named).expanduser().resolve())
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / "pyproject.toml").is_file():
        checkout = Path.cwd()
    return Home(checkout / "data" / "var")


def settings_file(environ: Mapping[str, str], folder: Path | None = None) -> Path | None:
    """TRIPTYCH_SETTINGS if set (it must then exist), else triptych.toml in `folder`, else none.

    folder: the working folder by default.
    """
    named = environ.get("TRIPTYCH_SETTINGS", "").strip()
    if named:
        return Path(named).expanduser()
    candidate = (folder or Path.cwd()) / SETTINGS_FILE
    return candidate if candidate.is_file() else None


def database_url(home: Home, environ: Mapping[str, str]) -> str:
    """[triptych] database_url (or TRIPTYCH_DATABASE_URL) if set, else the SQLite file of `home`."""
    core = load_section(CoreSettings, CORE_SECTION, file=settings_file(environ), environ=environ)
    return core.database_url.get_secret_value() if core.database_url else home.database_url


def wanted_device(given: Device | None, environ: Mapping[str, str]) -> Device:
    """`given`, else [triptych] device (or TRIPTYCH_DEVICE) if set, else auto.

    Raises: SettingsError: [triptych] of the settings is wrong.
    """
    if given is not None:
        return given
    file = settings_file(environ)
    return load_section(CoreSettings, CORE_SECTION, file=file, environ=environ).device


class Section(BaseModel):
    """A section of triptych.toml: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _known_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("expected a time zone as Europe/Berlin or UTC") from None
    return name


TimeZone = Annotated[str, AfterValidator(_known_time_zone)]


class CoreSettings(Section):
    """[triptych]: what every application shares."""

    database_url: SecretStr | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"


def load_section(
    model: type[M], section: str, *, file: Path | None, environ: Mapping[str, str]
) -> M:
    """Read one section into `model`; keys the file and the environment do not name keep defaults.

    file: a TOML file that must exist, or None for "environment and defaults only".
    Values of the environment are text: pydantic converts them; lists may be JSON or split at
    commas, tables are JSON. For the core section TRIPTYCH_DEVICE does as TRIPTYCH_TRIPTYCH__DEVICE.

    Raises: SettingsError, one line: file or variable, section, key, value and what is allowed.
    """
    place = f"{file.name if file else SETTINGS_FILE} [{section}]"
    values: dict[str, Any] = _section_of(file, section) if file else {}
    _refuse_unknown(values, model, place)
    origins: dict[tuple[str, ...], str] = {}
    for variable, keys, raw in _variables(model, section, environ):
        origins[keys] = variable
        _put(values, keys, _from_text(raw, _schema_at(model, keys)), variable)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, model, place, origins)) from None


def check_sections(file: Path, known: Collection[str]) -> tuple[str, ...]:
    """The file's sections. One that nobody reads is refused: a misspelt `[newz]` would otherwise be
    ignored in silence.

    Raises: SettingsError naming the section, the nearest known one and all known ones.
    """
    sections = tuple(_parsed(file))
    for name in sections:
        if name not in known:
            raise SettingsError(
                f"{file.name}: unknown section [{name}]{_guess(name, known)}; "
                f"known: {', '.join(sorted(known))}"
            )
    return sections


def _parsed(file: Path) -> dict[str, Any]:
    """The whole TOML file."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SettingsError(f"{file}: no such settings file") from None
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise SettingsError(f"{file} line {line}: not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not valid TOML: {error}") from None


def _section_of(file: Path, section: str) -> dict[str, Any]:
    found = _parsed(file).get(section, {})
    if not isinstance(found, dict):
        raise SettingsError(
            f"{file.name}: {section} = {found!r} is a value, expected a section [{section}]"
        )
    return found


def _variables(
    model: type[BaseModel], section: str, environ: Mapping[str, str]
) -> list[tuple[str, tuple[str, ...], str]]:
    """(variable, path of keys, text) of every variable that speaks about this section."""
    prefix = f"{ENVIRONMENT_PREFIX}{section.upper()}__"
    found: list[tuple[str, tuple[str, ...], str]] = []
    if section == CORE_SECTION:
        short = {f"{ENVIRONMENT_PREFIX}{key.upper()}": key for key in model.model_fields}
        found += [(v, (short[v],), raw) for v, raw in sorted(environ.items()) if v in short]
    for variable, raw in sorted(environ.items()):
        if not variable.startswith(prefix):
            continue
        keys = tuple(variable.removeprefix(prefix).lower().split("__"))
        if keys[0] not in model.model_fields:
            names = [f"{prefix}{key.upper()}" for key in model.model_fields]
            raise SettingsError(
                f"environment {variable}: unknown key{_guess(variable, names)}; "
                f"allowed: {', '.join(sorted(names))}"
            )
        found.append((variable, keys, raw))
    return found


def _put(values: dict[str, Any], keys: tuple[str, ...], value: object, variable: str) -> None:
    """Set values[k0][k1]… = value without changing tables that came from elsewhere."""
    for key in keys[:-1]:
        inner = values.get(key, {})
        if not isinstance(inner, dict):
            raise SettingsError(f"environment {variable}: {key} is not a table")
        values[key] = dict(inner)
        values = values[key]
    values[keys[-1]] = value


def _from_text(raw: str, schema: Mapping[str, Any]) -> object:
    """A variable's text as pydantic wants it: JSON for tables and lists, or a list at commas."""
    kinds = {branch.get("type") for branch in _branches(schema)}
    if kinds & {"array", "object"} and raw.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(raw)
        except json.JSONDecodeError:
            return raw  # pydantic then says what is expected
    if "array" in kinds:
        return [part.strip() for part in raw.split(",") if part.strip()]
    if "null" in kinds and not raw.strip():
        return None
    return raw


def _refuse_unknown(values: Mapping[str, Any], model: type[BaseModel], place: str) -> None:
    for key in values:
        if key not in model.model_fields:
            raise SettingsError(_unknown(place, key, list(model.model_fields)))


def _unknown(place: str, key: str, allowed: Sequence[str]) -> str:
    return f"{place}: unknown key {key!r}{_guess(key, allowed)}; allowed: {', '.join(allowed)}"


def _guess(word: str, allowed: Collection[str]) -> str:
    near = difflib.get_close_matches(word, list(allowed), n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _explain(
    error: ValidationError,
    model: type[BaseModel],
    place: str,
    origins: Mapping[tuple[str, ...], str],
) -> str:
    """The first mistake as one line; the others come when this one is mended."""
    first = error.errors(include_url=False)[0]
    keys = first["loc"]
    path = ".".join(str(part) for part in first["loc"]) or "section"
    schema = _schema_at(model, keys)
    variable = next((v for k, v in origins.items() if keys[: len(k)] == k), None)
    where = f"environment {variable}" if variable else f"{place}: {path}"
    if first["type"] == "missing":
        return f"{place}: {path} is missing, expected {_describe(schema)}"
    if first["type"] == "extra_forbidden":
        parent = _schema_at(model, keys[:-1])
        inside = ".".join((place.rstrip("]"), *map(str, keys[:-1]))) + "]"
        return _unknown(inside, str(keys[-1]), list(parent.get("properties", {})))
    said = first["msg"].removeprefix("Value error, ")
    expected = said if first["type"] == "value_error" else f"expected {_describe(schema)}"
    if not keys:
        return f"{place}: {said}"
    value = HIDDEN if _is_secret(schema) else repr(first["input"])
    return f"{where} = {_short(value)}, {expected}"


def _short(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= 80 else f"{line[:77]}..."


def _schema_at(model: type[BaseModel], keys: tuple[str | int, ...]) -> Mapping[str, Any]:
    """The JSON schema of the field `keys` lead to, references resolved; {} if there is none."""
    whole = model.model_json_schema()
    defined: Mapping[str, Any] = whole.get("$defs", {})

    def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" in schema:
            return resolved(defined[schema["$ref"].rsplit("/", 1)[1]])
        if "anyOf" in schema:
            return {**schema, "anyOf": [resolved(branch) for branch in schema["anyOf"]]}
        return schema

    schema = resolved(whole)
    for key in keys:
        lists = [branch for branch in _branches(schema) if branch.get("type") == "array"]
        if isinstance(key, int) and lists:
            schema = resolved(lists[0].get("items", {}))
            continue
        tables = [branch for branch in _branches(schema) if key in branch.get("properties", {})]
        if not tables:
            return {}
        schema = resolved(tables[0]["properties"][key])
    return schema


def _branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The alternatives of `a | b`, or the schema itself."""
    return list(schema.get("anyOf", [schema]))


def _is_secret(schema: Mapping[str, Any]) -> bool:
    return any(branch.get("format") == "password" for branch in _branches(schema))


def _describe(schema: Mapping[str, Any]) -> str:
    """What a field allows, in words, from its JSON schema."""
    words = [_describe_one(branch) for branch in _branches(schema) if branch.get("type") != "null"]
    return " or ".join(dict.fromkeys(words)) or "another value"


def _describe_one(schema: Mapping[str, Any]) -> str:
    if "enum" in schema or "const" in schema:
        allowed = schema.get("enum", [schema.get("const")])
        return "one of " + ", ".join(repr(value) for value in allowed)
    kinds = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "string": "text",
        "array": "a list",
        "object": "a table",
    }
    words = kinds.get(schema.get("type", ""), "another value")
    if schema.get("type") == "array" and "items" in schema:
        words += f" of {_describe(schema['items'])}"
    formats = {"path": "a path", "date-time": "a date and time", "duration": "a duration"}
    words = formats.get(schema.get("format", ""), words)
    limits = {
        "minimum": ">= {}",
        "exclusiveMinimum": "> {}",
        "maximum": "<= {}",
        "exclusiveMaximum": "< {}",
        "minLength": "of {} characters or more",
        "maxLength": "of {} characters or fewer",
        "minItems": "of {} items or more",
        "maxItems": "of {} items or fewer",
        "pattern": "matching {}",
    }
    bounds = [said.format(schema[key]) for key, said in limits.items() if key in schema]
    return " ".join([words, " and ".join(bounds)]).strip()
