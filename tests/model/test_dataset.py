"""Pictures on disk: which are found, and what is read from them."""

import os
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model import dataset
from model.errors import DataError
from tests.model.small import is_one_sentence, plates, save_picture

RGB = np.dstack([np.full((4, 6), value, np.uint8) for value in (10, 120, 230)])


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG of 8 bits, chunk by chunk: what OpenCV itself would not write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + extra + body + chunk(b"IEND", b"")


def written(folder: Path, name: str, image: NDArray[Any]) -> Path:
    """Writes pixels as OpenCV takes them: BGR, BGRA or grey."""
    path = folder / name
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        dataset.read_image(path)
    assert str(path) in str(caught.value)
    assert is_one_sentence(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_a_colour_picture_is_read_as_rgb(tmp_path: Path, suffix: str) -> None:
    np.testing.assert_array_equal(dataset.read_image(save_picture(tmp_path / f"a{suffix}", RGB)), RGB)


def test_a_jpeg_is_read_as_rgb_up_to_its_compression(tmp_path: Path) -> None:
    image = dataset.read_image(save_picture(tmp_path / "a.jpg", RGB))
    assert np.abs(image.astype(int) - RGB).max() < 12


def test_a_grey_picture_stays_grey_in_eight_and_sixteen_bits(tmp_path: Path) -> None:
    for name, dtype in (("eight.png", np.uint8), ("sixteen.png", np.uint16), ("sixteen.tif", np.uint16)):
        grey = (np.arange(24).reshape(4, 6) * (10 if dtype == np.uint8 else 2500)).astype(dtype)
        image = dataset.read_image(written(tmp_path, name, grey))
        assert image.dtype == dtype
        np.testing.assert_array_equal(image, grey)


def test_sixteen_bit_colour_is_read_as_rgb_in_full_depth(tmp_path: Path) -> None:
    image = dataset.read_image(save_picture(tmp_path / "a.png", RGB.astype(np.uint16) * 250))
    np.testing.assert_array_equal(image, RGB.astype(np.uint16) * 250)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_alpha_channel_is_dropped_not_blended(tmp_path: Path, dtype: type[np.integer[Any]]) -> None:
    bgra = np.dstack([RGB[:, :, ::-1], np.zeros((4, 6), np.uint8)]).astype(dtype)
    np.testing.assert_array_equal(dataset.read_image(written(tmp_path, "a.png", bgra)), RGB)


def test_a_palette_picture_is_read_in_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "palette.png"
    palette = chunk(b"PLTE", bytes([10, 20, 30, 200, 100, 50]))
    path.write_bytes(png(2, 1, colour=3, rows=b"\0\0\1", extra=palette))
    np.testing.assert_array_equal(dataset.read_image(path), [[[10, 20, 30], [200, 100, 50]]])


def test_a_one_pixel_picture_is_a_picture(tmp_path: Path) -> None:
    assert dataset.read_image(save_picture(tmp_path / "dot.png", RGB[:1, :1])).shape == (1, 1, 3)


def test_a_picture_is_read_as_stored_whatever_its_exif_orientation_says(tmp_path: Path) -> None:
    """The line sees pixels as a sensor delivers them: turning only the training pictures would split the two."""
    jpeg = save_picture(tmp_path / "a.jpg", RGB).read_bytes()
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = tmp_path / "turned.jpg"
    turned.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    shown = cv2.imread(str(turned))
    assert shown is not None
    assert shown.shape[:2] == (6, 4)  # the tag is understood
    assert dataset.read_image(turned).shape[:2] == (4, 6)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "signature"])
def test_a_file_that_is_no_picture_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    refusal(path)


def test_a_truncated_png_is_a_data_error(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "half.png", plates(1)[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refusal(path)


def test_a_damaged_png_is_a_data_error(tmp_path: Path) -> None:
    path = save_picture(tmp_path / "flipped.png", plates(1)[0])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    refusal(path)


def test_a_file_that_claims_more_pixels_than_fit_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(40_000, 40_000, colour=0, rows=b"\0" * 100))
    refusal(path)


def test_a_floating_point_picture_is_a_data_error(tmp_path: Path) -> None:
    refusal(written(tmp_path, "depth.tif", np.zeros((4, 6), np.float32)))


def test_a_missing_file_a_directory_and_a_dangling_link_are_data_errors(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("nowhere.png")
    for name in ("missing.png", "folder.png", "link.png"):
        refusal(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX users")
def test_a_picture_that_may_not_be_read_is_a_data_error() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = save_picture(Path(folder) / "secret.png", RGB)
        path.chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)  # root may read anything
        try:
            refusal(path)
        finally:
            if root:
                os.seteuid(0)


def test_a_linked_picture_is_read(tmp_path: Path) -> None:
    original = save_picture(tmp_path / "elsewhere" / "a.png", RGB)
    (tmp_path / "b.png").symlink_to(original)
    np.testing.assert_array_equal(dataset.read_image(tmp_path / "b.png"), RGB)


def test_the_picture_files_of_a_folder_come_by_name_and_nothing_else_does(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.tiff", "notes.txt", "d.png.part"):
        (tmp_path / name).touch()
    save_picture(tmp_path / "below" / "e.png", RGB)
    assert [path.name for path in dataset.pictures(tmp_path)] == ["a.JPG", "b.png", "c.tiff"]


def test_training_pictures_come_from_train_good(tmp_path: Path) -> None:
    paths = [save_picture(tmp_path / "train" / "good" / name, RGB) for name in ("0.png", "1.png")]
    assert dataset.good_pictures(tmp_path) == paths


@pytest.mark.parametrize("build", ["nothing", "file", "empty"])
def test_a_missing_or_empty_train_good_folder_is_named(tmp_path: Path, build: str) -> None:
    folder = tmp_path / "train" / "good"
    if build != "nothing":
        folder.parent.mkdir()
        if build == "file":
            folder.touch()
        else:
            folder.mkdir()
    with pytest.raises(DataError) as caught:
        dataset.good_pictures(tmp_path)
    assert str(folder) in str(caught.value)
    assert is_one_sentence(caught.value)


def test_test_pictures_have_their_kind_and_their_mask(tmp_path: Path) -> None:
    for name in ("test/good/0.png", "test/scratch/0.jpg", "test/scratch/1.png", "ground_truth/scratch/0_mask.png"):
        save_picture(tmp_path / name, RGB)
    (tmp_path / "test" / "notes.txt").touch()
    save_picture(tmp_path / "ground_truth" / "good" / "0_mask.png", RGB)
    good, masked, unmasked = dataset.test_pictures(tmp_path)
    assert (good.kind, good.defective, good.mask) == ("good", False, None)
    assert (masked.kind, masked.defective) == ("scratch", True)
    assert masked.mask == tmp_path / "ground_truth" / "scratch" / "0_mask.png"
    assert (unmasked.path.name, unmasked.mask) == ("1.png", None)


def test_a_folder_without_test_pictures_is_named(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "empty" / "test" / "good"):
        folder.mkdir(parents=True, exist_ok=True)
        with pytest.raises(DataError) as caught:
            dataset.test_pictures(tmp_path / "empty" if folder != tmp_path else tmp_path)
        assert is_one_sentence(caught.value)


@pytest.mark.parametrize(
    "mask",
    [
        np.array([[0, 127, 128, 255]], np.uint8),
        np.array([[0, 32767, 32768, 65535]], np.uint16),
        np.repeat(np.array([[0, 127, 128, 255]], np.uint8)[:, :, None], 3, axis=2),
        np.dstack([np.array([[0, 127, 128, 255]], np.uint8)] * 3 + [np.array([[255, 255, 0, 0]], np.uint8)]),
    ],
    ids=["grey", "16 bit", "colour", "alpha"],
)
def test_a_mask_is_true_above_half_of_its_range_however_it_is_stored(tmp_path: Path, mask: NDArray[Any]) -> None:
    read = dataset.read_mask(written(tmp_path, "mask.png", mask))
    assert read.dtype == np.bool_
    np.testing.assert_array_equal(read, [[False, False, True, True]])


def test_what_cannot_be_read_is_skipped_by_name_and_the_rest_is_read(tmp_path: Path) -> None:
    good = [save_picture(tmp_path / name, RGB) for name in ("0.png", "2.png")]
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").mkdir()
    skipped: list[DataError] = []
    images = dataset.read_each(dataset.pictures(tmp_path), skipped.append)
    assert len(images) == len(good)
    assert [("1.png" in str(error), "3.png" in str(error)) for error in skipped] == [(True, False), (False, True)]


def test_when_no_picture_can_be_read_that_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"")
    skipped: list[DataError] = []
    with pytest.raises(DataError) as caught:
        dataset.read_each(dataset.pictures(tmp_path), skipped.append)
    assert len(skipped) == 1
    assert is_one_sentence(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_never_accepted(tmp_path: Path, suffix: str, share: float) -> None:
    """A decoder on its own would fill up what is missing with grey."""
    whole = save_picture(tmp_path / f"whole{suffix}", plates(1)[0])
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    assert dataset.read_image(whole).shape == (40, 48, 3)
    refusal(cut)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_padding_after_the_end_of_a_picture_does_no_harm(tmp_path: Path, suffix: str) -> None:
    path = save_picture(tmp_path / f"a{suffix}", plates(1)[0])
    before = dataset.read_image(path)
    path.write_bytes(path.read_bytes() + bytes(64))
    np.testing.assert_array_equal(dataset.read_image(path), before)


def test_every_real_picture_is_whole(data_root: Path) -> None:
    for name in ("mvtec_bottle", "magnetic_tile"):
        paths = [*dataset.good_pictures(data_root / name), *(t.path for t in dataset.test_pictures(data_root / name))]
        assert len(dataset.read_each(paths, lambda error: pytest.fail(str(error)))) == len(paths)


def test_good_pictures_may_lie_right_inside_a_folder(tmp_path: Path) -> None:
    save_picture(tmp_path / "b.png", RGB)
    save_picture(tmp_path / "a.bmp", RGB)
    (tmp_path / "notes.txt").write_text("")
    assert [path.name for path in dataset.good_pictures(tmp_path)] == ["a.bmp", "b.png"]
    with pytest.raises(DataError, match="no test pictures"):
        dataset.test_pictures(tmp_path)


def test_a_folder_in_mvtec_layout_ignores_what_lies_right_inside_it(tmp_path: Path) -> None:
    save_picture(tmp_path / "overview.png", RGB)
    good = save_picture(tmp_path / "train" / "good" / "a.png", RGB)
    assert dataset.good_pictures(tmp_path) == [good]


def listed(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "list.csv"
    file.write_bytes(text.encode(encoding))
    return file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_file_lists_what_trains_and_what_tests(tmp_path: Path, encoding: str) -> None:
    training = "path,split,kind,mask\na/1.png,,,\n/b/2.png,train,good,\n"
    file = listed(tmp_path, training + "3.png,test,good,\n4.png,test,hole,m/4.png\n5.png,test,hole,\n", encoding)
    assert dataset.good_pictures(file) == [tmp_path / "a/1.png", Path("/b/2.png")]
    assert dataset.test_pictures(file) == [
        dataset.TestPicture(tmp_path / "3.png", "good", None),
        dataset.TestPicture(tmp_path / "4.png", "hole", tmp_path / "m/4.png"),
        dataset.TestPicture(tmp_path / "5.png", "hole", None),
    ]
    assert dataset.root_of(file) == tmp_path


def test_a_csv_file_needs_no_column_but_path(tmp_path: Path) -> None:
    assert dataset.good_pictures(listed(tmp_path, "path\n1.png\n")) == [tmp_path / "1.png"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "header"),
        ("file\n1.png\n", "header"),
        ("path,colour\n1.png,red\n", "header"),
        ("path,split\n1.png,validate\n", "line 2"),
        ("path,kind\n1.png,good\n2.png,hole\n", "line 3"),
        ("path\n1.png,extra\n", "line 2"),
        ("path,split\n,test\n", "line 2"),
        ('path\n"1.png\n', "not CSV"),
        ("path,split\n1.png,test\n", "split is train"),
    ],
)
def test_a_csv_file_that_can_not_be_meant_is_refused_by_line(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(DataError) as caught:
        dataset.good_pictures(listed(tmp_path, text))
    assert named in str(caught.value)
    assert "list.csv" in str(caught.value)
    assert is_one_sentence(caught.value)


def test_a_csv_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be read"):
        dataset.good_pictures(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="not CSV"):
        dataset.test_pictures(listed(tmp_path, "path\nä.png\n", "utf-16"))


def test_a_name_in_results_is_the_path_below_the_root_or_the_whole_path() -> None:
    assert dataset.display_name(Path("/data/test/good/1.png"), Path("/data")) == "test/good/1.png"
    assert dataset.display_name(Path("/elsewhere/1.png"), Path("/data")) == "/elsewhere/1.png"


def test_the_lots_of_a_csv_file_come_in_the_order_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "parts.csv"
    file.write_text("path,lot\na.png,monday\nb.png,\nc.png,monday\nd.png,tuesday\n")
    paths = dataset.good_pictures(file)
    first, alone, third, fourth = dataset.lots_of(file, paths) or []
    assert first == third
    assert len({first, alone, fourth}) == 3
    assert dataset.lots_of(file, paths[::-1]) == [fourth, third, alone, first]


def test_no_lot_is_known_of_a_folder_or_of_a_file_that_names_none(tmp_path: Path) -> None:
    file = tmp_path / "parts.csv"
    file.write_text("path,lot\na.png,\n")
    assert dataset.lots_of(file, [tmp_path / "a.png"]) is None
    assert dataset.lots_of(tmp_path, [tmp_path / "a.png"]) is None
