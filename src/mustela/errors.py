"""The errors that a user can cause and repair."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = [
    "CheckpointError",
    "ConfigError",
    "CountMismatchError",
    "ImageError",
    "MissingExtraError",
    "MustelaError",
    "RecordError",
    "RegionError",
    "TemplateError",
    "TrainingError",
    "require",
]


class MustelaError(ValueError):
    """Something in the input is wrong; the message says what, where and the remedy.

    The command line prints the message alone and ends with exit status 2.
    """


class RecordError(MustelaError):
    """A record or a data file can't be used as it is."""


class RegionError(MustelaError):
    """A region is malformed, empty, or does not fit its image."""


class ImageError(MustelaError):
    """An image can't be read."""


class ConfigError(MustelaError):
    """A flag, a key of a configuration file or a combination of them is wrong."""


class TemplateError(MustelaError):
    """A conversation template is unknown, malformed or can't render a conversation."""


class CheckpointError(MustelaError):
    """A checkpoint is missing, incomplete or belongs to another kind of model."""


class MissingExtraError(MustelaError):
    """A feature needs a package that only an optional extra installs."""


class TrainingError(MustelaError):
    """A training can't go on."""


class CountMismatchError(MustelaError):
    """Two counts that must agree, such as region tokens and regions, differ."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: name to import, such as `"bitsandbytes"`.
        extra: the extra of mustela that installs it, such as `"quantization"`.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the import failed. The message is one line with the package, the extra and the
            original error, because an installed package can fail too (a missing shared library, say).
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingExtraError(
            f'{module} can\'t be imported; install it with: pip install "mustela[{extra}]" '
            f"(the import said: {type(error).__name__}: {reason})"
        ) from error
