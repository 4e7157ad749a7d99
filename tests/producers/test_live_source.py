"""`producers.live_source`: a camera that comes, goes and comes back, with the clock passed in."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from producers.announced import Announced, Announcement
from producers.attribution import Attribution
from producers.daemon import configure_logging
from producers.errors import SettingsError, SourceError
from producers.frame import PartTag
from producers.live_source import LAST_CALL_S, LONGEST_PAUSE_S, LiveSource
from producers.snapshot import Snapshot, missing
from tests.producers.test_announced import Said
from tests.producers.test_sources import Clock

GOOD = np.zeros((2, 2, 3), np.uint8)
Step = str
"""What happens when a device is asked for a picture: `picture`, `nothing`, `torn`, `refuse` or `lost`."""


class ScriptedDevice:
    """Does what it is told, a step each time it is asked; then it is silent. Waiting takes its time."""

    def __init__(self, steps: list[Step], clock: Clock) -> None:
        self.steps, self.clock = iter(steps), clock
        self.skipped = 0
        self.closed = False

    def grab(self, timeout_s: float) -> Snapshot | None:
        step = next(self.steps, "nothing")
        if step == "picture":
            self.skipped += 1
            return Snapshot(GOOD, self.clock.now)
        if step == "torn":
            return missing("torn", captured=self.clock.now)
        self.clock.now += timeout_s
        if step == "refuse":
            raise SettingsError("gain is no feature of it")
        if step == "lost":
            raise SourceError("unplugged")
        return None

    def close(self) -> None:
        self.closed = True


class Bench:
    """A source whose devices follow a script, and what came of it.

    Args:
        openings: for each try to open it, the device's steps, or None if it is not there.
    """

    def __init__(
        self, *openings: list[Step] | None, silence_s: float | None = 1.0, attribution: Attribution | None = None
    ) -> None:
        self.clock = Clock()
        self.devices: list[ScriptedDevice] = []
        self.tries: list[float] = []
        self._openings = iter(openings)
        self.source = LiveSource(
            "cam",
            self._open,
            silence_s=silence_s,
            attribution=attribution,
            patience_s=10.0,
            clock=self.clock,
            sleep=self.clock.sleep,
        )

    def _open(self) -> ScriptedDevice:
        self.tries.append(self.clock.now)
        steps = next(self._openings, None)
        if steps is None:
            raise SourceError("not there")
        self.devices.append(ScriptedDevice(steps, self.clock))
        return self.devices[-1]

    def captures(self, *, until: Callable[[], bool] = lambda: False) -> Iterator[Snapshot]:
        return self.source.captures(stopping=lambda: until() or self.clock.now > 200)


def test_pictures_come_as_the_device_takes_them() -> None:
    bench = Bench(["picture", "nothing", "picture", "torn"])
    found = [capture.image is not None for capture in bench.captures(until=lambda: bench.clock.now > 100.5)]
    assert found == [True, True, False]
    assert bench.source.load() == {
        "source_up": 0.0,  # it is closed again
        "source_outages": 0,
        "source_outage_seconds": 0,
        "source_skipped": 2,
        "source_incomplete": 1,
    }
    assert bench.devices[0].closed


def test_pictures_that_were_taken_before_the_end_are_not_lost() -> None:
    """When it is told to stop, three parts have gone by whose pictures lie in the driver."""
    bench = Bench(["picture", "picture", "torn", "picture"])
    captures = bench.source.captures(stopping=lambda: bool(bench.devices and bench.devices[0].skipped))
    assert [capture.image is not None for capture in captures] == [True, True, False, True]
    assert bench.source.load()["source_incomplete"] == 1


def test_a_camera_that_runs_on_keeps_nobody_at_the_end() -> None:
    bench = Bench(["picture"] * 1000)
    found: list[Snapshot] = []
    for picture in bench.source.captures(stopping=lambda: bool(bench.devices)):
        found.append(picture)
        bench.clock.now += LAST_CALL_S / 10
    assert 0 < len(found) < 20


@pytest.mark.parametrize("end", [["lost"], ["nothing"] * 12], ids=["lost", "silent"])
def test_a_device_that_is_lost_or_silent_is_opened_anew_and_the_gap_is_counted(
    end: list[Step], capsys: pytest.CaptureFixture[str]
) -> None:
    bench = Bench(["picture", *end], None, None, ["picture", "picture"])
    configure_logging("info")
    captures = bench.captures()
    next(captures)
    last_picture = bench.clock.now
    next(captures)
    assert [device.closed for device in bench.devices] == [True, False]
    counted = bench.source.load()
    assert counted["source_outages"] == 1
    assert counted["source_outage_seconds"] == pytest.approx(bench.clock.now - last_picture)
    assert counted["source_up"] == 1
    said = capsys.readouterr().err
    assert said.count("source is lost") == 1
    assert said.count("source is back") == 1


def test_while_a_camera_is_lost_its_gap_grows() -> None:
    bench = Bench(["picture", "lost"])
    list(bench.captures())
    counted = bench.source.load()
    assert (counted["source_up"], counted["source_outages"]) == (0, 1)
    assert counted["source_outage_seconds"] == pytest.approx(100, abs=1)
    pauses = np.diff(bench.tries[1:])
    assert pauses.max() <= LONGEST_PAUSE_S + 0.2
    assert len(bench.tries) < 70, "it does not try without pause"


def test_a_camera_that_never_was_there_is_given_up_after_its_patience() -> None:
    bench = Bench()
    with pytest.raises(SourceError, match="not there"):
        list(bench.captures())
    assert 110 <= bench.clock.now < 113
    assert len(bench.tries) > 3


def test_a_camera_that_comes_late_is_waited_for() -> None:
    bench = Bench(None, None, ["picture"])
    assert next(bench.captures()).image is not None
    assert bench.source.load()["source_outages"] == 0, "it was not lost, it was not there yet"


def test_a_camera_that_sends_no_first_picture_is_given_up() -> None:
    bench = Bench(*[["nothing"] * 20] * 20)
    with pytest.raises(SourceError, match="no picture for 1 s"):
        list(bench.captures())


def test_a_setting_that_it_does_not_take_ends_it_at_once() -> None:
    def refuse() -> ScriptedDevice:
        raise SettingsError("gain is no feature of it")

    source = LiveSource("cam", refuse, silence_s=1.0)
    with pytest.raises(SettingsError, match="gain"):
        list(source.captures(stopping=lambda: False))


def test_a_setting_that_it_took_before_is_tried_until_it_takes_it_again() -> None:
    """Another camera was plugged in, or its settings were locked; the line goes on once that is undone."""
    bench = Bench(["picture", "lost"], ["refuse"], ["picture"])
    captures = bench.captures()
    next(captures)
    assert next(captures).image is not None
    assert len(bench.devices) == 3


def test_a_camera_with_a_trigger_may_be_silent() -> None:
    bench = Bench(["picture", *["nothing"] * 500, "picture"], silence_s=None)
    assert len([*bench.captures(until=lambda: bench.clock.now > 190)]) == 2
    assert len(bench.devices) == 1


def test_a_camera_with_a_trigger_is_there_once_it_is_open() -> None:
    """Before the first part of the day it is ready, and is waited for without end if it is unplugged."""
    bench = Bench([*["nothing"] * 200, "lost"], *[None] * 30, ["nothing"] * 10, silence_s=None)
    up: list[float] = []

    def until() -> bool:
        up.append(bench.source.load()["source_up"])
        return len(bench.devices) == 2 and bench.clock.now > 190

    assert list(bench.captures(until=until)) == []
    assert set(up[1:100]) == {1.0}
    assert up[-1] == 1.0
    counted = bench.source.load()
    assert counted["source_outages"] == 1
    assert 40 < counted["source_outage_seconds"] < 62, "from when it was lost, not from the last picture"


def test_a_trigger_without_a_picture_ends_too_also_while_the_camera_is_lost() -> None:
    said = Said()
    bench = Bench(["picture", *["nothing"] * 30, "lost"], silence_s=None, attribution=Announced(said, within_s=0.5))
    for name, at in (("p0", 99.9), ("p1", 101.0), ("p2", 150.0)):
        said.waiting.append(Announcement(PartTag(part_id=name), at))
    ends = [(capture.part.part_id, capture.image is not None) for capture in bench.captures()]
    assert ends == [("p0", True), ("p1", False), ("p2", False)]
    assert bench.source.load()["source_parts_without_picture"] == 2


def test_the_time_that_whoever_takes_pictures_needs_is_no_silence() -> None:
    bench = Bench(["picture", "nothing", "picture"])
    captures = bench.captures()
    next(captures)
    bench.clock.now += 60
    next(captures)
    assert len(bench.devices) == 1


def test_a_real_camera_may_open_a_gate_and_never_waits_for_room() -> None:
    source = Bench().source
    assert not source.simulated
    assert source.policy == "drop_oldest"
