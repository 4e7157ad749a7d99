"""Master parts at shift start: known-bad ones must all fail, known-good ones pass; compared with the last time."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.bundle import Bundle
from model.dataset import pictures, read_image
from model.engine import Engine
from model.errors import ContractError, DataError
from model.features import Progress

LOG = "challenge.jsonl"


@dataclass(frozen=True)
class Challenged:
    """One master part.

    Attributes:
        name: its path below the folder.
        bad: whether it must fail.
        passed: what the bundle says; a picture that breaks the input contract fails, as on the line.
        severity: 0 at the median good score, 1 at the threshold; None if it was not scored.
        before: its severity last time; None if there was none.
        note: why it was not scored.
    """

    name: str
    bad: bool
    passed: bool
    severity: float | None
    before: float | None
    note: str = ""

    @property
    def right(self) -> bool:
        """Whether the bundle says what is known. A picture that can't be read proves nothing."""
        return self.passed is not self.bad and self.note != UNREADABLE


UNREADABLE = "can't be read"


def master_parts(folder: Path) -> list[tuple[Path, bool]]:
    """Every picture in the folder's subfolders and whether it is bad: those in `good` are not, all others are.

    Raises:
        DataError: there is no known-bad part: a challenge that nothing can fail proves nothing.
    """
    found = [
        (path, kind.name != "good")
        for kind in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if kind.is_dir()
        for path in pictures(kind)
    ]
    if not any(bad for _, bad in found):
        raise DataError(f"{folder} holds no known-bad part: put some into a subfolder such as {folder / 'scratch'}")
    return found


def challenge(
    bundle: Bundle,
    folder: Path,
    *,
    log: Path,
    device: str = "auto",
    progress: Progress = lambda what, done, total: None,
) -> list[Challenged]:
    """Judges every master part and adds the run to the log.

    Args:
        bundle: to judge with.
        folder: see `master_parts`.
        log: JSON lines, one a run.
        device: `auto`, `cpu` or `cuda`.
        progress: told after each part.

    Raises:
        DataError: no known-bad part, or the log can't be read or written.
    """
    parts, before = master_parts(folder), last_severities(log)
    engine, results = Engine.of(bundle, device=device), []
    for done, (path, bad) in enumerate(parts):
        name = path.relative_to(folder).as_posix()
        passed, severity, note = _judge(bundle, engine, path)
        results.append(Challenged(name, bad, passed, severity, before.get(name), note))
        progress("parts", done + 1, len(parts))
    _append(log, bundle, results)
    return results


def _judge(bundle: Bundle, engine: Engine, path: Path) -> tuple[bool, float | None, str]:
    calibration = bundle.manifest.calibration
    try:
        image = read_image(path)
        bundle.manifest.contract.check(image)
    except ContractError as error:
        return False, None, str(error)
    except DataError:
        return False, None, UNREADABLE
    score = engine.inspect([image])[0].score
    return calibration.passes(score), calibration.severity(score), ""


def last_severities(log: Path) -> dict[str, float]:
    """By name, from the log's last line; empty where there is no log.

    Raises:
        DataError: the log is something else.
    """
    if not log.exists():
        return {}
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
        return {
            part["name"]: part["severity"] for part in json.loads(lines[-1])["parts"] if part["severity"] is not None
        }
    except OSError as error:
        raise DataError(f"{log} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{log} is no log of challenges: move it away, or name another with --log") from error


def _append(log: Path, bundle: Bundle, results: list[Challenged]) -> None:
    run: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": bundle.label,
        "threshold": bundle.manifest.calibration.threshold,
        "parts": [
            {"name": part.name, "bad": part.bad, "passed": part.passed, "severity": part.severity, "note": part.note}
            for part in results
        ],
    }
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(run) + "\n")
    except OSError as error:
        raise DataError(f"{log} can't be written: {error.strerror}; name another with --log") from error
