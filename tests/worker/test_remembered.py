"""What a reader remembers of frames: exactly which, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from producers.frame import FrameId
from tests.worker.frames import SESSION
from worker.remembered import Remembered

FRAMES = st.builds(
    FrameId, st.sampled_from(["cam1", "cam2"]), st.just(SESSION), st.sampled_from([0, 1, 7, 8, 65_535, 65_536, 2**53])
)


@given(st.lists(FRAMES))
def test_a_frame_is_new_exactly_once(frames: list[FrameId]) -> None:
    remembered, plain = Remembered(), set[FrameId]()
    for frame in frames:
        assert (frame in remembered) == (frame in plain)
        assert remembered.add(frame) == (frame not in plain)
        plain.add(frame)


def test_the_window_that_was_used_longest_ago_is_forgotten_first() -> None:
    remembered = Remembered(windows=2)
    one, two, three = (FrameId("cam1", SESSION, window << 16) for window in range(3))
    for frame in (one, two, one, three):
        remembered.add(frame)
    assert [frame in remembered for frame in (one, two, three)] == [True, False, True]
