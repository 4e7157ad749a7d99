"""The folder of recipes on disk: which bundle is in use, which were before, and how another takes its place.

`recipes/NAME` is a symbolic link to `recipes/.versions/NAME/DIGEST`; another version is put in its place by renaming a
new link over it, so that a worker sees the old one or the new one and nothing between. `recipes/.versions/NAME/history`
holds the links' targets, the newest last: what `rollback` goes back along.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from model.bundle import label, read_bundle, read_manifest
from model.errors import BundleError, DataError
from worker.recipes import check_name, find_bundles

VERSIONS, HISTORY = ".versions", "history"


@dataclass(frozen=True)
class Version:
    """What a recipe is judged with by every worker that looks at the folder.

    Attributes:
        name: of the recipe.
        label: of its bundle.
        digest: sha256 of its bundle, hexadecimal.
        threshold: in float32.
        activated: when it was put in its place, UTC, ISO 8601.
        before: the version that `rollback` goes back to; None: there is none.
        problem: why it can't be read; the rest is empty then.
    """

    name: str
    label: str = ""
    digest: str = ""
    threshold: float | None = None
    activated: str = ""
    before: str | None = None
    problem: str | None = None

    def to_json(self) -> dict[str, str | float | None]:
        """For machines."""
        return asdict(self)


def versions_in(folder: Path) -> list[Version]:
    """Every recipe in the folder, by name."""
    return [_version(folder, name) for name in sorted(find_bundles(folder))]


def _version(folder: Path, name: str) -> Version:
    place = folder / name
    try:
        check_name(name)
        manifest, digest = read_manifest(place)
    except BundleError as error:
        return Version(name, problem=str(error))
    past = _past(folder, name)
    return Version(
        name,
        label(manifest.name, digest),
        digest,
        manifest.calibration.threshold,
        datetime.fromtimestamp(place.lstat().st_mtime, UTC).isoformat(timespec="seconds"),
        Path(past[-1]).name if past else None,
    )


def activate(bundle: Path, folder: Path, name: str, check: Callable[[Path], object]) -> Path:
    """Puts a copy of a bundle in a recipe's place. Whoever looks sees the old one until then, and after a failure.

    A bundle that lies in that place as a directory of its own becomes the version before.

    Args:
        bundle: to copy, with its golden images and records.
        folder: of the recipes; made if it is not there.
        name: of the recipe.
        check: raises `BundleError` if it is no good.

    Returns:
        Where the copy lies.

    Raises:
        BundleError: it is no good, or no recipe can have that name.
        DataError: the folder can't be written.
    """
    check_name(name)
    check(bundle)
    kept = folder / VERSIONS / name
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with FileLock(kept / ".lock"), tempfile.TemporaryDirectory(prefix=".new-", dir=kept) as scratch:
            copy = Path(scratch) / "copy"
            shutil.copytree(bundle, copy)
            version = kept / read_bundle(copy).digest
            _put(copy, version, scratch=Path(scratch))
            _point(folder, name, os.path.relpath(version, folder), past=_all(folder, name))
            return version
    except (OSError, shutil.Error) as error:
        raise DataError(f"{bundle} can't be put into {folder}: {error}") from error


def rollback(folder: Path, name: str, check: Callable[[Path], object]) -> Path:
    """Puts the version before back in a recipe's place.

    Args:
        folder: of the recipes.
        name: of the recipe.
        check: raises `BundleError` if it is no good any more.

    Returns:
        Where it lies.

    Raises:
        BundleError: it is damaged, or no recipe can have that name.
        DataError: there is no version before, or the folder can't be written.
    """
    check_name(name)
    kept = folder / VERSIONS / name
    if not kept.is_dir():
        raise DataError(f"recipe {name} in {folder} has no version before: it was never activated")
    try:
        with FileLock(kept / ".lock"):
            past = _past(folder, name)
            if not past:
                raise DataError(f"recipe {name} in {folder} has no version before the one in use")
            before = folder / past[-1]
            check(before)
            _point(folder, name, past[-1], past=past[:-1])
            return before
    except OSError as error:
        raise DataError(f"recipe {name} in {folder} can't be changed: {error}") from error


def _put(copy: Path, version: Path, *, scratch: Path) -> None:
    """Moves a checked copy to its own place. The same bundle may lie there, with other golden images: this counts."""
    for file in copy.rglob("*"):
        if file.is_file():
            _sync(file)
    if version.exists():
        version.rename(scratch / "old")
    copy.rename(version)
    _sync(version.parent)


def _point(folder: Path, name: str, target: str, *, past: list[str]) -> None:
    """Lets the recipe's link lead to `target`, with `past` behind it; the history first, so that none is forgotten."""
    place, kept = folder / name, folder / VERSIONS / name
    if place.is_dir() and not place.is_symlink():
        past = [*past, _adopt(folder, name)]
    lines = [line for line in past if line != target]
    with tempfile.TemporaryDirectory(prefix=".new-", dir=kept) as scratch:
        written, link = Path(scratch) / HISTORY, Path(scratch) / "link"
        written.write_text("".join(f"{line}\n" for line in [*lines, target]), encoding="utf-8")
        _sync(written)
        written.replace(kept / HISTORY)
        link.symlink_to(target, target_is_directory=True)
        link.replace(place)
    _sync(folder)


def _adopt(folder: Path, name: str) -> str:
    """Moves a bundle that lies in a recipe's place to the versions. For a moment there is none: workers wait it out."""
    place, kept = folder / name, folder / VERSIONS / name
    version = kept / read_manifest(place)[1]
    if version.exists():
        shutil.rmtree(version)
    place.rename(version)
    return os.path.relpath(version, folder)


def _all(folder: Path, name: str) -> list[str]:
    """Targets in the order in which they were put in place, the one in place last."""
    place = folder / name
    now = [str(place.readlink())] if place.is_symlink() else []
    return [*_past(folder, name), *now]


def _past(folder: Path, name: str) -> list[str]:
    """Targets from before the one in place. What stands behind that in the history was begun and never finished."""
    place, history = folder / name, folder / VERSIONS / name / HISTORY
    lines = history.read_text(encoding="utf-8").splitlines() if history.is_file() else []
    now = str(place.readlink()) if place.is_symlink() else None
    return lines[: lines.index(now)] if now in lines else lines


def _sync(path: Path) -> None:
    """Has the disk hold it, file or directory, before what comes next."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
