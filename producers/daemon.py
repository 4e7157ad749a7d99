"""What every Sightline daemon shares: how settings are read, how logs look, how a signal ends the work.

It lives beside the camera because the base install begins there.
"""

import faulthandler
import logging
import os
import signal
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import pydantic_settings
import structlog
from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from producers.errors import SettingsError

LOG_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class ExitCode(IntEnum):
    """How every `sightline` command ends. A second SIGTERM or SIGINT ends it at once: 128 and the signal's number."""

    OK = 0
    """Done; a daemon was told to leave, and did."""
    NO = 1
    """The answer is no: a check failed, a frame has no verdict, an engine is broken. A crash ends so, too."""
    SETTINGS = 2
    """A flag, a file or the environment is wrong; nothing was opened."""
    BUNDLE = 3
    """A bundle is missing or damaged."""
    UNREACHABLE = 4
    """Redis is not there, or refuses what the line needs."""
    ADDRESS_TAKEN = 5
    """An address can't be bound."""
    DATA = 6
    """Pictures, a device or an engine are not what was asked for."""


class DaemonSettings(BaseSettings):
    """Settings of a daemon: defaults < TOML file < `SIGHTLINE_*` environment < flags. Unknown keys are errors."""

    model_config = SettingsConfigDict(env_prefix="SIGHTLINE_", env_nested_delimiter="__", extra="forbid", frozen=True)


Settings = TypeVar("Settings", bound=DaemonSettings)


def load_settings(kind: type[Settings], file: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Reads a daemon's settings.

    Args:
        kind: which settings.
        file: TOML, or None.
        flags: from the command line; None means not given.

    Raises:
        SettingsError: one sentence naming the file and the key.
    """
    stored = _read_toml(file) if file else {}
    given = {key: value for key, value in flags.items() if value is not None}

    class Layered(kind):  # type: ignore[misc, valid-type]
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], init_settings: Any, env_settings: Any, **_: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=stored)

    try:
        return Layered(**given)
    except ValidationError as error:
        raise SettingsError(f"{file or 'settings'}: {_first(error)}") from error
    except pydantic_settings.SettingsError as error:  # a value in the environment that is not the JSON it should be
        raise SettingsError(f"environment: {error}") from error


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key {where}"
    if first["type"] == "missing":
        return f"{where} is missing"
    return f"{where}: {first['msg']}"


def configure_logging(level: str = "info") -> None:
    """Logs go to standard error: coloured lines on a terminal, JSON lines otherwise.

    Raises:
        SettingsError: there is no such level.
    """
    if level not in LOG_LEVELS:
        raise SettingsError(f"log level {level!r} is none: choose one of {', '.join(LOG_LEVELS)}")
    tty = sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if tty else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LOG_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


@contextmanager
def stop_requested(on_stop: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """A flag that the first SIGTERM or SIGINT raises; a second one leaves at once.

    SIGUSR1 prints where each thread stands, on standard error: for a daemon that seems to hang.

    Args:
        on_stop: called from the handler; it may only set flags.

    Yields:
        A function that says whether to stop. Main thread only.
    """
    raised: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        if raised:
            os._exit(128 + number)
        raised.append(number)
        on_stop()

    if sys.platform != "win32" and sys.__stderr__ is not None:
        faulthandler.register(signal.SIGUSR1, file=sys.__stderr__)
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(raised)
    finally:
        for number, old in before.items():
            signal.signal(number, old)
