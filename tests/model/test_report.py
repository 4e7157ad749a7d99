"""The report: one page that needs nothing else."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from model import dataset
from model.bundle import Bundle, read_bundle
from model.errors import DataError
from model.evaluation import Evaluation, evaluate
from model.metrics import Rate
from model.report import rate_text, write_report
from tests.model.small import edited_copy, is_one_sentence, plates, save_picture


class Page(HTMLParser):
    """What a page shows and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "src":
                self.sources.append(value or "")
            if name == "href":
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for index, image in enumerate(plates(6)):
        save_picture(tmp_path / "data" / "test" / ("<b>hole" if index % 2 else "good") / f"{index}.png", image)
    (tmp_path / "data" / "test" / "good" / "broken.png").write_bytes(b"")
    return tmp_path / "data"


def judged(bundle: Bundle, data: Path) -> Evaluation:
    return evaluate(bundle, data, dataset.test_pictures(data), device="cpu")


def with_threshold(bundle: Path, out: Path, threshold: float) -> Bundle:
    change = {"threshold": threshold, "median": threshold - 1}
    return read_bundle(edited_copy(bundle, out, lambda manifest: manifest["calibration"].update(change)))


def page(bundle: Bundle, data: Path, out: Path) -> Page:
    return Page(write_report(out, bundle, judged(bundle, data), data=data).read_text(encoding="utf-8"))


def test_it_needs_no_other_file_and_no_network(small_bundle: Path, labelled: Path, tmp_path: Path) -> None:
    shown = page(read_bundle(small_bundle), labelled, tmp_path / "report")
    assert len(shown.sources) >= 4
    assert all(re.match(r"data:image/(png|jpeg);base64,", source) for source in shown.sources)
    assert shown.links == []
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["report.html"]


def test_every_miss_is_shown_with_its_heat_map_where_all_pass(
    small_bundle: Path, labelled: Path, tmp_path: Path
) -> None:
    shown = page(with_threshold(small_bundle, tmp_path / "lenient", 99.0), labelled, tmp_path / "report")
    assert "defective, and passed (3)" in shown.words
    assert "good, and failed (0)" in shown.words
    assert len([source for source in shown.sources if "jpeg" in source]) == 6


def test_every_false_reject_is_shown_where_all_fail(small_bundle: Path, labelled: Path, tmp_path: Path) -> None:
    shown = page(with_threshold(small_bundle, tmp_path / "strict", -99.0), labelled, tmp_path / "report")
    assert "good, and failed (3)" in shown.words
    assert "defective, and passed (0)" in shown.words


def test_names_are_shown_as_they_are_and_never_as_markup(small_bundle: Path, labelled: Path, tmp_path: Path) -> None:
    shown = page(read_bundle(small_bundle), labelled, tmp_path / "report")
    assert "<b>hole" in shown.words
    assert "broken.png" in shown.words


def test_a_rate_is_told_with_its_counts_and_its_interval() -> None:
    assert rate_text(Rate(1, 20)) == "5.0% (1 of 20; 95 %: 0.1% to 24.9%)"
    assert rate_text(Rate(0, 0)) == "-"


def test_a_folder_that_can_not_be_made_is_named(small_bundle: Path, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    bundle = read_bundle(small_bundle)
    with pytest.raises(DataError) as caught:
        write_report(tmp_path / "file" / "report", bundle, judged(bundle, labelled), data=labelled)
    assert is_one_sentence(caught.value)
