"""`sightline compare`: two judges of one recording, what they say differently, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

pytest.importorskip("torch")

from producers.errors import RecordingError, SettingsError
from producers.frame import Frame, make_frame
from producers.recording.folder import Recording
from producers.recording.message import PICTURES, Wanted
from producers.recording.recorder import Recorder
from producers.recording.replay import Replay
from producers.recording.settings import RecordingSettings
from tests.producers.recording.frames import tag
from tests.worker.bundles import remade, threshold_of
from tests.worker.sinks import now_judged, sink_at
from worker.compare.changes import compare as compare_opinions
from worker.compare.cli import compare, show
from worker.compare.opinion import Opinion
from worker.compare.rejudge import of_bundle
from worker.errors import ResultError
from worker.recording import note_of
from worker.verdict import Decision, Reason, Verdict

FRAMES = 10


@pytest.fixture(scope="module")
def frames(parts_root: Path) -> list[Frame]:
    """Good and bad parts, and one that is of no size that the bundle takes."""
    paths = sorted((parts_root / "test").rglob("*.png"))[: FRAMES - 1]
    images = [np.asarray(cv2.imread(str(path)), np.uint8) for path in paths]
    made = [make_frame(tag(seq, part_id=f"P{seq}"), image, color="bgr") for seq, image in enumerate(images)]
    return [*made, make_frame(tag(FRAMES - 1, part_id="small"), images[0][:8, :8], color="bgr")]


@pytest.fixture(scope="module")
def recording(frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of those frames, without verdicts."""
    path = tmp_path_factory.mktemp("recording") / "a.mcap"
    with Recorder(RecordingSettings(out=path)) as recorder:
        for one in frames:
            recorder.published(one)
    return path


@pytest.fixture(scope="module")
def said(recording: Path, recipes: Path) -> dict[str, Opinion]:
    """What the bundle says of them."""
    replay = Replay(Recording(recording), Wanted(topics=PICTURES))
    return of_bundle(recipes / "part", replay.frames(), device="cpu")


def verdicts_like(said: dict[str, Opinion], frames: list[Frame], **changes: Any) -> list[Verdict]:
    """As a worker would have stored them, of a replay whose originals these frames are."""
    found = []
    for one in frames:
        opinion = said[str(one.tag.id)]
        passed = opinion.decision == "pass"
        fields: dict[str, Any] = {
            "tag": one.tag.model_copy(
                update={"session": "00000000-0000-4000-8000-00000000000f", "original": str(one.tag.id)}
            ),
            "decision": Decision(opinion.decision),
            "reason": Reason[opinion.reason.upper()],
            "score": opinion.score,
            "threshold": None if opinion.score is None else opinion.score + (0.1 if passed else -0.1),
            "severity": opinion.severity,
            "inspected_ns": 1,
            "worker": "w1",
        }
        found.append(Verdict(**{**fields, **changes}))
    return found


@pytest.fixture(scope="module")
def said_file(said: dict[str, Opinion], frames: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as a line's verdicts, in a file of JSON lines."""
    path = tmp_path_factory.mktemp("said") / "said.jsonl"
    lines = [json.dumps(one.to_json()) for one in verdicts_like(said, frames)]
    path.write_text("\n".join(['{"notice": "away"}', *lines]))
    return str(path)


def found_by(
    capsys: pytest.CaptureFixture[str],
    place: Path,
    against: str,
    *,
    base: str | None = None,
    redis: str = "",
    report: Path | None = None,
) -> tuple[int, dict[str, Any]]:
    """The exit code, and the JSON."""
    capsys.readouterr()
    code = compare(place, against, base=base, redis=redis, report=report, as_json=True, device="cpu")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_the_same_bundle_says_the_same_twice(
    recording: Path, recipes: Path, said: dict[str, Opinion], said_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Decisions, reasons and scores to the last bit; a frame that breaks the contract is a bad frame both times."""
    code, found = found_by(capsys, recording, str(recipes / "part"), base=said_file)
    assert (code, found["same"], found["compared"]) == (0, True, FRAMES)
    assert (found["rescored"], found["largest_score_change"]) == (0, 0.0)
    assert [opinion.reason for opinion in said.values()].count("bad_frame") == 1


def test_another_bundle_changes_just_the_frames_between_the_thresholds(
    recording: Path,
    recipes: Path,
    said: dict[str, Opinion],
    said_file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each is listed with what was said before and after, by its part; the page has its picture twice."""
    scores = sorted(opinion.score for opinion in said.values() if opinion.score is not None)
    before = threshold_of(recipes / "part")
    after = scores[-1] if scores[-1] > before else scores[-2]  # with it all pass, or one fails that passed
    other = remade(recipes / "part", tmp_path / "other", threshold=after)
    expected = {
        frame
        for frame, opinion in said.items()
        if opinion.score is not None and (opinion.score <= before) != (opinion.score <= after)
    }
    code, found = found_by(capsys, recording, str(other), base=said_file, report=tmp_path / "report")
    assert expected
    assert code == 1
    assert {change["id"] for change in found["changes"]} == expected
    assert found["rescored"] == 0
    page = (tmp_path / "report" / "compare.html").read_text()
    assert len(re.findall("data:image/jpeg", page)) == 2 * len(expected)
    assert all(frame in page for frame in expected)


def test_verdicts_of_a_replay_are_matched_by_the_original(
    recording: Path,
    said: dict[str, Opinion],
    said_file: str,
    frames: list[Frame],
    tmp_path: Path,
    redis_url: str,
    line: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From a line's Redis and from a recording with verdicts: the same as from a file of JSON lines."""
    verdicts = verdicts_like(said, frames)
    sink = sink_at(redis_url, line)
    assert set(sink.store(now_judged(*verdicts))) == {"stored"}
    with Recorder(RecordingSettings(out=tmp_path / "verdicts.mcap")) as recorder:
        for one in verdicts:
            recorder.offer(note_of(one))
    for source in (f"line:{line}", str(tmp_path / "verdicts.mcap")):
        code, found = found_by(capsys, recording, source, base=said_file, redis=redis_url)
        assert (code, found["same"], found["rescored"]) == (0, True, 0)


def test_a_recordings_own_verdicts_are_the_base(
    recording: Path,
    recipes: Path,
    said: dict[str, Opinion],
    frames: list[Frame],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files of one folder are one recording; a frame without a verdict is counted and not compared."""
    (tmp_path / "frames.mcap").write_bytes(recording.read_bytes())
    with Recorder(RecordingSettings(out=tmp_path / "verdicts.mcap")) as recorder:
        for one in verdicts_like(said, frames)[:-2]:
            recorder.offer(note_of(one))
    code, found = found_by(capsys, tmp_path, str(recipes / "part"))
    assert (code, found["compared"], found["without_before"], found["changed"]) == (1, FRAMES - 2, 2, 0)


def test_a_change_is_another_decision_or_another_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """Another score alone is counted, with the largest difference; the table has the changes alone."""
    frames = [tag(seq) for seq in range(4)]
    before = {str(frame.id): Opinion("fail", "defect", 1.0) for frame in frames}
    after = {
        str(frames[0].id): Opinion("fail", "defect", 1.0),
        str(frames[1].id): Opinion("fail", "defect", 1.5),
        str(frames[2].id): Opinion("fail", "late", 1.0),
        str(frames[3].id): Opinion("pass", "ok", -1.0),
    }
    found = compare_opinions(frames, before, after)
    assert [change.frame for change in found.changes] == frames[2:]
    assert dict(found.kinds) == {"fail defect -> fail late": 1, "fail defect -> pass": 1}
    assert (found.rescored, found.largest_score_change) == (2, 2.0)
    show(found, Console(width=100))
    said = capsys.readouterr().out
    assert "4 frames, 4 compared: 2 changed" in said
    assert "fail late" in said


def test_what_can_not_be_compared_with_is_told(recording: Path, recipes: Path, tmp_path: Path) -> None:
    """Nothing there, no verdicts, no JSON."""
    part = str(recipes / "part")
    with pytest.raises(SettingsError, match="nothing to compare with"):
        compare(recording, str(tmp_path / "nowhere"), base=part)
    with pytest.raises(RecordingError, match="holds no verdicts"):
        compare(recording, part)
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(ResultError, match="not JSON lines"):
        compare(recording, str(tmp_path / "a.jsonl"), base=part)
    (tmp_path / "b.jsonl").write_text('{"id": "x"}')
    with pytest.raises(ResultError, match="can't be read"):
        compare(recording, str(tmp_path / "b.jsonl"), base=part)
