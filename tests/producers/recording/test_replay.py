"""A replay is the recording again: the same bytes, the same gaps, and no doubt that it is a replay."""

import itertools
import json
import math
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from producers import camera
from producers.daemon import ExitCode
from producers.errors import RecordingError, SettingsError
from producers.frame import FrameHeader
from producers.recording import daemon, foxglove
from producers.recording.daemon import endpoints
from producers.recording.file import RecordingFile
from producers.recording.folder import Recording
from producers.recording.message import PICTURES, Topic, Wanted
from producers.recording.recorder import Note, Recorder
from producers.recording.replay import RecordedCapture, Replay, speed_of
from producers.recording.replay_cli import select
from producers.recording.settings import RecordingSettings
from producers.settings import PublisherSettings
from producers.sources import Source
from tests.producers.conftest import Dial, Publish
from tests.producers.recording.frames import STEP_NS, frame, header_of, jpeg, record

STEP_S = STEP_NS / 1e9
ITS_OWN = {"session", "seq", "captured_ns", "simulated", "original", "age_us", "sent_mono_us", "attempt", "budget_ms"}


class Time:
    """A clock that goes on only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-5)

    def due(self, replay: Replay) -> list[float]:
        """When each capture comes, from the first one on."""
        times = [self.now for _ in replay.captures(clock=lambda: self.now, sleep=self.sleep)]
        return [at - times[0] for at in times]


def replay_of(path: Path, **fields: Any) -> Replay:
    return Replay(Recording(path), Wanted(topics=PICTURES), **fields)


def replayed_alike(header: FrameHeader, recorded: dict[str, Any]) -> bool:
    """Whether all but a replay's own fields are the same."""
    found = json.loads(header.to_bytes())
    return {key: found[key] for key in found if key not in ITS_OWN} == {
        key: recorded[key] for key in recorded if key not in ITS_OWN
    }


@pytest.mark.parametrize(("speed", "step_s"), [(1.0, STEP_S), (2.0, STEP_S / 2), (0.5, 2 * STEP_S), (math.inf, 0.0)])
def test_frames_come_in_their_original_timing_or_in_that_of_the_speed(
    tmp_path: Path, speed: float, step_s: float
) -> None:
    """Each at its offset from the first one, divided by the speed: no error adds up."""
    record(tmp_path / "a.mcap", *(frame(seq) for seq in (0, 1, 2, 10, 11)))
    found = Time().due(replay_of(tmp_path / "a.mcap", speed=speed))
    assert found == pytest.approx([seq * step_s for seq in (0, 1, 2, 10, 11)], abs=2e-5)


def test_a_clock_that_was_set_back_stops_nothing(tmp_path: Path) -> None:
    """A gap below zero is none, and the gaps after it are as they were."""
    record(tmp_path / "a.mcap", frame(1000), frame(1001), frame(0), frame(1))
    assert Time().due(replay_of(tmp_path / "a.mcap")) == pytest.approx([0, STEP_S, STEP_S, 2 * STEP_S], abs=2e-5)


def test_payload_and_header_are_those_of_the_recording(tmp_path: Path, publish: Publish, dial: Dial) -> None:
    """Raw and JPEG, with everything known of the part; a replay's own are session, seq and time."""
    frames = [frame(0, part_id="A", trigger=9, view="top", recipe="part", budget_ms=50.0), jpeg(1)]
    record(tmp_path / "a.mcap", *frames)
    with publish(recipe=None) as publisher:
        worker = dial()
        worker.hello(credit=10)
        for capture in replay_of(tmp_path / "a.mcap", speed=math.inf).captures():
            capture.publish(publisher)
        for seq, one in enumerate(frames):
            header, payload = worker.frame()
            assert payload == bytes(one.payload)
            assert replayed_alike(header, header_of(one))
            assert (header.session, header.seq) == (publisher.session, seq)
            assert (header.original, header.simulated, header.budget_ms) == (str(one.tag.id), True, None)
            worker.stored(header.id)
        assert publisher.drain(5) == 0


def test_a_budget_is_kept_where_it_is_asked_for(tmp_path: Path, publish: Publish, dial: Dial) -> None:
    """Then the frame is as urgent as it was."""
    record(tmp_path / "a.mcap", frame(0, budget_ms=5000.0, recipe="part"))
    worker = dial()
    worker.hello(credit=1)
    with publish() as publisher:
        for capture in replay_of(tmp_path / "a.mcap", keep_budget=True).captures():
            capture.publish(publisher)
        assert worker.frame()[0].budget_ms == 5000.0


def test_cameras_of_a_recording_have_an_endpoint_each(tmp_path: Path, dial: Dial, endpoints: tuple[str, str]) -> None:
    """Frames come out at the port of their camera, and only those of the camera that was chosen."""
    record(tmp_path / "a.mcap", *(frame(seq, camera=camera) for seq in range(3) for camera in ("cam1", "cam2")))
    replay, counts = select(Recording(tmp_path / "a.mcap"), cameras=["cam1"], since=None, until=None, only=None)
    assert counts == {"cam1": 3}
    settings = PublisherSettings(camera="cam1", recipe="part", work=endpoints[0], live=endpoints[1])
    worker = dial()
    worker.hello(credit=3)
    code: list[ExitCode] = []
    thread = threading.Thread(target=lambda: code.append(_run(replay, settings)))
    thread.start()
    for seq in range(3):
        header, _ = worker.frame()
        assert header.original == str(frame(seq).tag.id)
        worker.stored(header.id)
    thread.join(10)
    assert code == [ExitCode.OK]


def test_a_frame_on_another_camera_s_channel_is_left_out(tmp_path: Path) -> None:
    """Nobody knows which of the two is true, and there may be no publisher for the one that it names."""
    file = RecordingFile(tmp_path / "a.mcap", chunk_bytes=4000, compression="none")
    for one, channel in ((frame(0), "cam1"), (frame(1), "cam2"), (frame(2), "cam1")):
        data = foxglove.to_message(one.header, json.dumps(header_of(one)).encode(), one.payload)
        file.add(channel, Topic.FRAME, data, time_ns=one.tag.captured_ns, seq=one.tag.seq)
    file.close()
    assert [capture.header.seq for capture in replay_of(tmp_path / "a.mcap").frames()] == [0, 2]


def test_a_file_that_goes_away_meanwhile_is_told_and_the_others_are_replayed(tmp_path: Path) -> None:
    """A recorder that has no more room removes the oldest."""
    for seq in range(3):
        record(tmp_path / f"{seq}.mcap", frame(seq))
    told: list[str] = []
    recording = Recording(tmp_path, tell=told.append)
    (tmp_path / "1.mcap").unlink()
    found = [capture.header.seq for capture in Replay(recording, Wanted(topics=PICTURES)).frames()]
    assert (found, len(told)) == ([0, 2], 1)


@pytest.mark.parametrize("which", ["replay", "camera"])
def test_what_was_published_has_its_verdicts_though_the_source_fails(
    tmp_path: Path, dial: Dial, publisher_settings: PublisherSettings, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails at the third frame; the two before it are waited for, and then it is told."""

    class Failing(Replay):
        label, total, policy, simulated, load = "test", None, "block", True, dict

        def captures(self, **_: Any) -> Generator[RecordedCapture, None, None]:
            yield from itertools.islice(self.frames(), 2)
            raise RecordingError("for the test")

    record(tmp_path / "a.mcap", *(frame(seq) for seq in range(3)))
    source = Failing(Recording(tmp_path / "a.mcap"), Wanted(topics=PICTURES))
    worker, failed = dial(), list[Exception]()
    worker.hello(credit=3)
    monkeypatch.setattr(camera, "stop_requested", never)

    def run() -> None:
        try:
            if which == "camera":
                camera.run(cast(Source, source), publisher_settings)
            else:
                _run(source, publisher_settings)
        except RecordingError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    names = [worker.frame()[0].id for _ in range(2)]
    thread.join(0.1)
    assert thread.is_alive(), "it waits"
    for name in names:
        worker.stored(name)
    thread.join(10)
    assert len(failed) == 1


@contextmanager
def never(on_stop: Callable[[], None]) -> Any:
    """In place of signals, which only the main thread can take."""
    yield lambda: False


def _run(replay: Replay, settings: PublisherSettings) -> ExitCode:
    """As the daemon does it, but for signals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(daemon, "stop_requested", never)
        return daemon.run(replay, [settings], total=None, wait_s=5, drain_s=5)


def test_ports_count_up_for_further_cameras() -> None:
    """Work and live endpoints alternate; what can't be counted is refused."""
    assert endpoints("tcp://127.0.0.1:5565", 3) == [f"tcp://127.0.0.1:{port}" for port in (5565, 5567, 5569)]
    assert endpoints("ipc:///run/replay", 1) == ["ipc:///run/replay"]
    with pytest.raises(SettingsError, match="count from"):
        endpoints("ipc:///run/replay", 2)


def test_only_frames_with_a_verdict_of_that_kind_are_replayed(tmp_path: Path) -> None:
    """The first verdict of a frame stands; a frame without one is neither."""
    with Recorder(RecordingSettings(out=tmp_path / "a.mcap")) as recorder:
        for seq in range(5):
            recorder.published(frame(seq))
        for seq, decision in ((0, "pass"), (1, "fail"), (3, "fail"), (3, "pass")):
            text = json.dumps({"id": str(frame(seq).tag.id), "decision": decision, "reason": "?"}).encode()
            recorder.offer(Note("cam1", Topic.VERDICT, text, frame(seq).tag.captured_ns, seq))
    chosen, _ = select(Recording(tmp_path / "a.mcap"), cameras=None, since=None, until=None, only="fail")
    assert [capture.header.seq for capture in chosen.frames()] == [1, 3]
    chosen, _ = select(Recording(tmp_path / "a.mcap"), cameras=None, since="0.01s", until="0.02s", only=None)
    assert [capture.header.seq for capture in chosen.frames()] == [2, 3]


def test_what_can_not_be_replayed_is_told(tmp_path: Path) -> None:
    """No such camera, no verdicts to choose by, nothing in that time, no such speed."""
    record(tmp_path / "a.mcap", frame(0))
    recording = Recording(tmp_path / "a.mcap")
    none: dict[str, Any] = {"cameras": None, "since": None, "until": None, "only": None}
    with pytest.raises(RecordingError, match="cam9 is not in the recording, which has cam1"):
        select(recording, **{**none, "cameras": ["cam9"]})
    with pytest.raises(RecordingError, match="holds no verdicts"):
        select(recording, **{**none, "only": "fail"})
    with pytest.raises(SettingsError, match="--only"):
        select(recording, **{**none, "only": "good"})
    chosen, _ = select(recording, **{**none, "since": "5m"})
    with pytest.raises(RecordingError, match="no frame"):
        list(chosen.captures())
    for text in ("0", "-1", "fast", "nan"):
        with pytest.raises(SettingsError, match="--speed"):
            speed_of(text)
    assert speed_of("max") == math.inf
