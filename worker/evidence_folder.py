"""A bounded folder of pictures, in the layout that `sightline evaluate` reads: `test/<reason>/<frame>.png`.

Beside each picture lies what was said of it, `<frame>.json`. Nothing in here but such files is ever counted or removed.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from producers.frame import FrameId
from worker.verdict import Reason

NAME = re.compile(
    r"\.?([a-z0-9_-]{1,32}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}_[0-9]{1,16})\.(?:png|json)(?:\.new)?"
)
LOOK_EVERY = 200  # pictures; other workers may write here, too


class EvidenceFolder:
    """Keeps the newest pictures within so many bytes. One thread at a time; several workers may share a folder.

    Args:
        folder: made when it is needed.
        max_bytes: of its files' contents; beyond that the oldest leave. With several workers a little more, since each
            looks at what the others have written once in `LOOK_EVERY` pictures.
        reasons: that there are pictures of.
    """

    def __init__(self, folder: Path, max_bytes: int, reasons: Iterable[Reason]) -> None:
        self._test, self._max_bytes = folder / "test", max_bytes
        self._reasons = [reason.word for reason in reasons]
        self._sizes: dict[tuple[str, str], int] = {}  # by reason and name, the oldest first
        self._since_look = LOOK_EVERY
        self.bytes = 0

    def keep(self, frame: FrameId, reason: Reason, *, png: bytes, line: bytes) -> bool:
        """Writes one picture, and lets the oldest go if need be. Returns False if it is too large to lie here.

        Args:
            frame: that it is of.
            reason: that the frame was rejected for.
            png: the picture.
            line: what was said of it, JSON.

        Raises:
            OSError: it can't be written; nothing of it is left.
        """
        size = len(png) + len(line)
        if size > self._max_bytes:
            return False
        if self._since_look >= LOOK_EVERY:
            self._look()
        kind, name = reason.word, f"{frame.camera}_{frame.session}_{frame.seq}"
        self._forget(kind, name)
        while self._sizes and self.bytes + size > self._max_bytes:
            self._remove(*next(iter(self._sizes)))
        folder = self._test / kind
        folder.mkdir(parents=True, exist_ok=True)
        try:
            _write(folder / f"{name}.json", line)  # first: no picture is ever seen without it
            _write(folder / f"{name}.png", png)
        except OSError:
            self._unlink(kind, name)
            raise
        self._sizes[kind, name] = size
        self.bytes += size
        self._since_look += 1
        return True

    def _look(self) -> None:
        """Learns what lies here, from earlier and from others."""
        found: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for kind in self._reasons:
            for entry, name in _ours(self._test / kind):
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # another worker has let it go
                    continue
                found.setdefault((kind, name), []).append((status.st_mtime_ns, status.st_size))
        oldest_first = sorted(found, key=lambda key: max(found[key]))
        self._sizes = {key: sum(size for _, size in found[key]) for key in oldest_first}
        self.bytes = sum(self._sizes.values())
        self._since_look = 0

    def _remove(self, kind: str, name: str) -> None:
        self._unlink(kind, name)
        self._forget(kind, name)

    def _forget(self, kind: str, name: str) -> None:
        self.bytes -= self._sizes.pop((kind, name), 0)

    def _unlink(self, kind: str, name: str) -> None:
        for file in (f"{name}.png", f"{name}.json", f".{name}.png.new", f".{name}.json.new"):
            (self._test / kind / file).unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all; not synced: a power cut may take the last pictures, and no disk is kept waiting for them."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    new.replace(path)


def _ours(folder: Path) -> Iterator[tuple["os.DirEntry[str]", str]]:
    """The files in here that this module has written, each with the name of its frame."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            named = NAME.fullmatch(entry.name)
            if named and entry.is_file(follow_symlinks=False):
                yield entry, named[1]
