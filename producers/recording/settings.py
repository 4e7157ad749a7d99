"""What a recorder is told."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from producers.errors import SettingsError
from producers.frame import first_fault

SUFFIX = ".mcap"
MIB = 1 << 20
FILES_IN_LIMIT = 4  # a limit of the disk holds so many files, so that what is removed is a part of what there is


class RecordingSettings(BaseModel):
    """Where a recording goes, and how much of it.

    Attributes:
        out: a file `NAME.mcap` that is not there yet, or a folder for many.
        name: the first word of each file in a folder; what is counted and removed there has the same.
        window_s: what lies no further back is lost by a power cut, or a kill.
        file_bytes: a file in a folder is followed by the next when it has so many.
        file_s: likewise, seconds since its first message.
        disk_bytes: all files of this name together at most; the oldest are removed. None: no limit.
        chunk_bytes: a chunk is closed when it has so many, within the window.
        compression: of chunks; none is fastest, and pictures of cameras do not shrink much.
        queue_bytes: pictures that wait for a slow disk; more are dropped, and counted.
        retry_s: after the disk refused, it is tried again so often.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    out: Path
    name: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")] = "recording"
    window_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    file_bytes: Annotated[int, Field(ge=MIB)] = 1024 * MIB
    file_s: Annotated[float, Field(gt=0)] = 3600.0
    disk_bytes: Annotated[int, Field(ge=FILES_IN_LIMIT * MIB)] | None = None
    chunk_bytes: Annotated[int, Field(ge=1, le=64 * MIB)] = MIB
    compression: Literal["none", "lz4", "zstd"] = "none"
    queue_bytes: Annotated[int, Field(ge=1)] = 256 * MIB
    retry_s: Annotated[float, Field(gt=0)] = 5.0

    @classmethod
    def of(
        cls,
        *,
        file_mib: float | None = None,
        file_minutes: float | None = None,
        disk_gib: float | None = None,
        **fields: object,
    ) -> "RecordingSettings":
        """As a person gave them, in a person's units; None means not given.

        Raises:
            SettingsError: one of them can't be, in one sentence.
        """
        given = {
            "file_bytes": _bytes(file_mib, MIB),
            "file_s": None if file_minutes is None else file_minutes * 60,
            "disk_bytes": _bytes(disk_gib, 1024 * MIB),
            **fields,
        }
        try:
            return cls.model_validate({name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise SettingsError(f"recording: {first_fault(error)}") from error

    @property
    def single(self) -> bool:
        """Whether all goes into one file."""
        return self.out.suffix == SUFFIX

    @property
    def most_file_bytes(self) -> int:
        """The size of a file, small enough for the disk's limit."""
        if self.disk_bytes is None:
            return self.file_bytes
        return min(self.file_bytes, self.disk_bytes // FILES_IN_LIMIT)


def _bytes(size: float | None, unit: int) -> float | None:
    """Whole ones; what is not finite is for the model to refuse."""
    return int(size * unit) if size is not None and math.isfinite(size) else size
