"""Reading picture files: PNG, JPEG, BMP and TIFF, grey and colour, 8 and 16 bit. A file cut short is never accepted."""

from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})

Image = NDArray[np.uint8] | NDArray[np.uint16]


def read_image(path: Path) -> Image:
    """One picture, as its pixels are stored: an orientation noted in EXIF is not applied, cameras on a line have none.

    Returns:
        `(H, W)` grey or `(H, W, 3)` RGB, uint8 or uint16. An alpha channel is dropped.

    Raises:
        DataError: the file can't be read as such a picture, or ends before its picture does.
    """
    try:
        data = np.fromfile(path, np.uint8)
        whole = _is_whole(data.tobytes())
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if whole else None
    except (OSError, cv2.error) as error:
        raise DataError(f"{path} can't be read as a picture") from error
    if not whole and data.size:
        raise DataError(f"{path} can't be read as a picture: the file is cut short")
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path} can't be read as a picture")
    if image.ndim == 2:
        return cast(Image, image)
    return cast(Image, cv2.cvtColor(image, cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A ground-truth mask: `(H, W)`, true where the stored grey value is above half of its range.

    Raises:
        DataError: the file can't be read as a picture.
    """
    mask = read_image(path)
    grey = mask if mask.ndim == 2 else mask.max(axis=2)
    return np.asarray(grey > np.iinfo(grey.dtype).max // 2)


def _is_whole(data: bytes) -> bool:
    """Whether a file has its format's end. Decoders fill up what is missing with grey and only murmur.

    JPEG ends with its EOI marker (ITU-T T.81, B.1.1.3), PNG with an IEND chunk (RFC 2083, 4.1.4); a BMP's header holds
    its size; TIFF has no end, but its decoder refuses strips that lie beyond the file. Zeros and other bytes after the
    end are tolerated: some writers pad.
    """
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in data[max(0, data.rfind(b"\xff\xda")) :]
    if data.startswith(b"\x89PNG"):
        return b"IEND\xae\x42\x60\x82" in data
    if data.startswith(b"BM"):
        return len(data) >= int.from_bytes(data[2:6], "little")
    return bool(data)
