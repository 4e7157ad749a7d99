"""Labelled pictures on disk: the MVTec AD layout, a folder of good ones, or a CSV file that lists them."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.errors import DataError
from model.images import SUFFIXES, Image, read_image, read_mask

__all__ = [
    "Image",
    "TestPicture",
    "display_name",
    "good_pictures",
    "lots_of",
    "read_each",
    "read_image",
    "read_mask",
    "root_of",
    "test_pictures",
]

COLUMNS = ("path", "split", "kind", "mask", "lot")


@dataclass(frozen=True)
class TestPicture:
    """One labelled picture.

    Attributes:
        path: of the picture.
        kind: `good` or the defect's name.
        mask: path of the ground-truth mask, None for good ones and where there is none.
        lot: that the part belongs to; empty if it is not known.
    """

    path: Path
    kind: str
    mask: Path | None
    lot: str = ""

    @property
    def defective(self) -> bool:
        """Whether the picture shows a defect."""
        return self.kind != "good"


def pictures(folder: Path) -> list[Path]:
    """The picture files right inside `folder`, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def good_pictures(data: Path) -> list[Path]:
    """Pictures of good parts, to train or calibrate with.

    Args:
        data: a folder with `train/good` (MVTec layout), a folder with pictures right inside it, or a CSV file: those of
            its rows whose split is `train` (see `read_csv`).

    Raises:
        DataError: none of these, or it holds no picture.
    """
    if data.suffix.lower() == ".csv":
        found = [picture.path for split, picture in read_csv(data) if split == "train"]
        if not found:
            raise DataError(f"{data} lists no picture whose split is train")
        return found
    folder = data / "train" / "good"
    if not folder.is_dir() and data.is_dir() and (found := pictures(data)):
        return found
    if not folder.is_dir():
        raise DataError(f"{data} has no train/good folder: put good pictures into {folder}, or right inside {data}")
    if not (found := pictures(folder)):
        raise DataError(f"{folder} holds no picture ({', '.join(sorted(SUFFIXES))})")
    return found


def lots_of(data: Path, paths: Sequence[Path]) -> list[str] | None:
    """The lot of each good picture, or a lot of its own where it is not known; None where no lot is known.

    Args:
        data: as for `good_pictures`; only a CSV file knows lots.
        paths: from there.
    """
    if data.suffix.lower() != ".csv":
        return None
    known = {picture.path: picture.lot for _, picture in read_csv(data) if picture.lot}
    return [f"lot {known[path]}" if path in known else f"picture {path}" for path in paths] if known else None


def test_pictures(data: Path) -> list[TestPicture]:
    """Labelled pictures to evaluate with, by kind and name.

    Args:
        data: a folder with `test/<kind>` and `ground_truth/<kind>/<stem>_mask.png` (MVTec layout), or a CSV file: those
            of its rows whose split is `test`.

    Raises:
        DataError: neither of these, or it holds no picture.
    """
    if data.suffix.lower() == ".csv":
        found = [picture for split, picture in read_csv(data) if split == "test"]
        if not found:
            raise DataError(f"{data} lists no picture whose split is test")
        return found
    folder, found = data / "test", []
    for kind in sorted(folder.iterdir()) if folder.is_dir() else []:
        for path in pictures(kind) if kind.is_dir() else []:
            mask = data / "ground_truth" / kind.name / f"{path.stem}_mask.png"
            found.append(TestPicture(path, kind.name, mask if kind.name != "good" and mask.is_file() else None))
    if not found:
        raise DataError(f"{data} has no test pictures: expected {folder}/good and {folder}/<defect>")
    return found


def read_csv(file: Path) -> list[tuple[str, TestPicture]]:
    """Every row of a CSV file, as (split, picture), in its order.

    UTF-8 with a header. Columns: `path` (relative to the file's folder, or absolute), `split` (`train`, the default, or
    `test`), `kind` (`good`, the default, or a defect's name; only good ones may train), `mask` (a path, may be empty),
    `lot` (any name, may be empty; a training never divides a lot between learning and the threshold).

    Raises:
        DataError: the file can't be read, or a row is not as above; named by its line.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            unknown = set(reader.fieldnames or ()) - set(COLUMNS)
            if "path" not in (reader.fieldnames or ()) or unknown:
                raise DataError(f"{file} needs a header with path, and of split, kind, mask and lot what it has to say")
            return [_row(file, reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not CSV: {error}") from error


def _row(file: Path, line: int, row: dict[str, str | None]) -> tuple[str, TestPicture]:
    split, kind, mask = row.get("split") or "train", row.get("kind") or "good", row.get("mask")
    if None in row or not row["path"]:
        raise DataError(f"{file}, line {line}: a path is expected, and no more cells than the header has")
    if split not in ("train", "test"):
        raise DataError(f"{file}, line {line}: split is {split!r}, not train or test")
    if split == "train" and kind != "good":
        raise DataError(f"{file}, line {line}: a picture of kind {kind!r} can't train: only good ones do")
    path = file.parent / str(row["path"])
    masked = file.parent / mask if mask and kind != "good" else None
    return split, TestPicture(path, kind, masked, row.get("lot") or "")


def read_each(paths: Iterable[Path], skipped: Callable[[DataError], None]) -> dict[Path, Image]:
    """Reads every picture that can be read, by path and in order; each of the others goes to `skipped`, by name.

    Raises:
        DataError: none could be read.
    """
    images: dict[Path, Image] = {}
    for path in paths:
        try:
            images[path] = read_image(path)
        except DataError as error:
            skipped(error)
    if not images:
        raise DataError("not one of the good pictures can be read")
    return images


def root_of(data: Path) -> Path:
    """The folder that pictures are named below."""
    return data if data.is_dir() else data.parent


def display_name(path: Path, root: Path) -> str:
    """A picture's name in results: its path below `root`, else its whole path; with slashes."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
