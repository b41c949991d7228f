"""What goes wrong on purpose, so that the command line can tell it from a bug.

TriptychError            everything below: the user can mend it; one line, exit code 1
├── SettingsError        triptych.toml or an environment variable
├── DataError            a file, a column, a row
├── ModelError           a model folder that is broken or does not fit
│   └── ModelNotFoundError
└── ServiceError         a feed, a mail server, a hub, a database that does not answer
"""


class TriptychError(Exception):
    """A mistake the user can mend, told in one line: what, where, what is allowed, the way out."""


class SettingsError(TriptychError):
    """A setting that is unknown, out of range or of the wrong type."""


class DataError(TriptychError):
    """A table, column or row that cannot be used as it is."""


class ModelError(TriptychError):
    """A model folder that is damaged, incomplete or made for something else."""


class ModelNotFoundError(ModelError):
    """No model, version or base encoder of that name."""


class ServiceError(TriptychError):
    """A service outside this process refused, timed out or answered nonsense."""
