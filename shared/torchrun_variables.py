"""What the environment says of a process that torchrun, or something like it, started as one of
several. Nothing heavy is imported: every command asks.
"""

from collections.abc import Mapping

from shared.errors import SettingsError

RANK, WORLD_SIZE = "RANK", "WORLD_SIZE"
# Of a process alone, which may also have neither variable.
_ALONE = {WORLD_SIZE: "1", RANK: "0"}


def several(environ: Mapping[str, str]) -> bool:
    """Whether this process is said to be one of several."""
    return _telling(environ) is not None


def is_main(environ: Mapping[str, str]) -> bool:
    """Whether it is said to be the one that speaks and writes."""
    return environ.get(RANK, _ALONE[RANK]) == _ALONE[RANK]


def refuse_several(what: str, environ: Mapping[str, str]) -> None:
    """Raises SettingsError where this process is said to be one of several, which `what` cannot
    make use of: each would do all of the work, or wait for the others for ever."""
    name = _telling(environ)
    if name is not None:
        raise SettingsError(
            f"environment: {name} = {environ[name]!r}: {what} runs in one process; "
            f"leave out torchrun, or unset {name}"
        )


def _telling(environ: Mapping[str, str]) -> str | None:
    """The variable that says so."""
    return next((name for name, own in _ALONE.items() if environ.get(name, own) != own), None)
