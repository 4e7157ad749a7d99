"""Table 5: CIFAR-10 in both of its layouts, one class against the others, and pickles that hold more than arrays."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from model.errors import DataError
from model.reproduce import novelty
from model.reproduce.cifar import read_classes
from model.reproduce.outcome import IMAGE
from model.reproduce.trial import train_head
from tests.model.small import is_one_sentence, save_picture
from tests.model.test_reproduce import make_small
from worker.cli import app

NAMES = ["cat", "dog", "frog"]


@pytest.fixture(autouse=True)
def small_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that train in no time."""
    make_small(monkeypatch)


def coloured(count: int, *, channel: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Noise with one bright channel, `(count, 32, 32, 3)` RGB."""
    images = np.random.default_rng(seed).integers(0, 60, (count, 32, 32, 3)).astype(np.uint8)
    images[..., channel] += 150
    return images


def as_batch(seed: int) -> dict[str, Any]:
    """Two pictures of each class, as a CIFAR-10 file has them: planes in a row."""
    images = np.concatenate([coloured(2, channel=label, seed=seed + label) for label in range(3)])
    return {"data": images.transpose(0, 3, 1, 2).reshape(6, -1).copy(), "labels": [0, 0, 1, 1, 2, 2]}


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    """The layout of torchvision, one file at a time."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for index, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        (folder / name).write_bytes(pickle.dumps(as_batch(10 * index), protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES}, protocol=2))
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder a class."""
    for part, seed in (("train", 0), ("test", 50)):
        for label, name in enumerate(NAMES):
            for index, image in enumerate(coloured(3, channel=label, seed=seed + label)):
                save_picture(tmp_path / "data" / part / name / f"{index}.png", image)
    return tmp_path / "data"


def table5(data: Path, out: Path, *words: object) -> Result:
    quick = ("--recipe", "ours", "--weights", "random", "--steps", "3", "--size", "32", "--device", "cpu")
    given = ["reproduce", "table5", "--data", data, "--out", out, *quick, *words]
    return CliRunner().invoke(app, [str(word) for word in given])


def test_every_class_is_the_normal_one_once(folders: Path, tmp_path: Path) -> None:
    result = table5(folders, tmp_path / "out", "--json", "--seeds", 2)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["label"] for row in rows] == [*NAMES, "mean of 3"]
    means = [row["figures"][IMAGE]["mean"] for row in rows]
    assert means[3] == pytest.approx(np.mean(means[:3]))
    assert rows[3]["figures"][IMAGE]["paper"] is None  # of ten classes alone
    assert len(json.loads((tmp_path / "out" / "table5.json").read_text())["cells"]) == 6


def test_the_score_tells_the_normal_class_from_the_others(folders: Path, tmp_path: Path) -> None:
    result = table5(folders, tmp_path / "out", "--json", "--steps", 160)
    assert json.loads(result.stdout)["rows"][3]["figures"][IMAGE]["mean"] > 80


def test_an_interrupted_run_goes_on_with_the_class_it_was_at(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    original = train_head

    def stops(*args: Any, **kwargs: Any) -> Any:
        trained.append(1)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(novelty, "train_head", stops)
    table5(folders, tmp_path / "out")
    assert len(trained) == 2
    assert table5(folders, tmp_path / "out").exit_code == 0
    assert len(trained) == 4  # the first class was finished
    assert table5(folders, tmp_path / "out").exit_code == 0
    assert len(trained) == 4


def test_torchvisions_files_are_read_as_they_were_written(batches: Path) -> None:
    for data in (batches, batches.parent):
        classes = read_classes(data)
        assert classes.names == tuple(NAMES)
        assert (len(classes.train.images), len(classes.test.images)) == (30, 6)
        assert np.array_equal(classes.test.images[2], coloured(2, channel=1, seed=51)[0])
        assert classes.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
        assert len(classes.train.of(1)) == 10


def test_files_that_python_2_wrote_are_read(batches: Path) -> None:
    content = as_batch(0)
    raw = content["data"].tobytes()
    array = (  # what Python 2 and NumPy 1 write: old module name, the bytes as a str
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
        b"(I1\n(I6\nI3072\ntcnumpy\ndtype\n(U\x02u1I0\nI1\ntR(I3\nU\x01|NNNI-1\nI-1\nI0\ntbI00\n"
        b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
    )
    labels = b"(lI0\naI0\naI1\naI1\naI2\naI2\na"
    (batches / "test_batch").write_bytes(b"\x80\x02}(U\x04data" + array + b"U\x06labels" + labels + b"u.")
    read = read_classes(batches)
    assert np.array_equal(read.test.images[0], coloured(2, channel=0)[0])


class Bomb:
    """A pickle that would leave a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("place", ["batches.meta", "data_batch_3", "test_batch"])
def test_a_pickle_that_holds_code_is_refused_in_one_sentence_and_never_run(
    batches: Path, tmp_path: Path, place: str
) -> None:
    (batches / place).write_bytes(pickle.dumps({"data": Bomb(tmp_path / "mark"), "label_names": NAMES}, protocol=2))
    result = table5(batches, tmp_path / "out")
    assert result.exit_code == 6
    last = result.stderr.strip().splitlines()[-1]
    assert is_one_sentence(last)
    assert place in last
    assert "mkdir" in last
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 7]}),
        pickle.dumps({"data": np.zeros((2, 9), np.uint8), "labels": [0, 1]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.float64), "labels": [0, 1]}),
        pickle.dumps({"data": np.array([None, "a"], object), "labels": [0, 1]}),
        pickle.dumps({"data": b"\0" * 6144, "labels": [0, 1]}),
    ],
    ids=["empty", "text", "list", "nothing", "labels", "label", "width", "floats", "objects", "bytes"],
)
def test_a_file_that_is_no_batch_is_one_sentence(batches: Path, content: bytes) -> None:
    (batches / "test_batch").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_classes(batches)
    assert is_one_sentence(caught.value)
    assert "test_batch" in str(caught.value)


def test_a_class_without_test_pictures_is_refused(folders: Path) -> None:
    for path in (folders / "test" / "dog").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"test/dog holds no picture"):
        read_classes(folders)


def test_a_folder_that_is_neither_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no CIFAR-10"):
        read_classes(tmp_path)
    (tmp_path / "train" / "cat").mkdir(parents=True)
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match="two at least"):
        read_classes(tmp_path)
