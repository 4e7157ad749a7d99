"""`worker.sessions`: whatever sessions and seqs a peer claims, what is known of them stays small."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from producers.frame import MAX_SEQ, FrameId
from worker.sessions import KNOWN_WINDOWS, NEW_A_MINUTE, Sessions


def claim(session: int, seq: int) -> FrameId:
    return FrameId("cam1", str(uuid.UUID(int=session)), seq)


def test_a_session_goes_on_for_ever_at_a_thousand_frames_a_second() -> None:
    sessions = Sessions(new_a_minute=2)
    assert all(sessions.admit(claim(1, second * 1000), float(second)) for second in range(3600))


def test_seqs_that_jump_far_are_refused_beyond_the_ration() -> None:
    sessions = Sessions()
    admitted = [sessions.admit(claim(1, jump * 70_000), 10.0) for jump in range(NEW_A_MINUTE + 5)]
    assert admitted == [True] * NEW_A_MINUTE + [False] * 5
    assert sessions.admit(claim(1, (NEW_A_MINUTE - 1) * 70_000 + 1), 10.0), "what is known still passes"


def test_new_sessions_are_refused_beyond_their_rate_and_admitted_again_in_time() -> None:
    sessions = Sessions()
    assert sum(sessions.admit(claim(number, 0), 5.0) for number in range(1000)) == NEW_A_MINUTE
    assert sum(sessions.admit(claim(2000 + number, 0), 35.0) for number in range(1000)) == NEW_A_MINUTE // 2


def test_a_worker_that_was_long_idle_meets_a_session_again_far_on() -> None:
    sessions = Sessions()
    assert sessions.admit(claim(1, 0), 0.0)
    assert sessions.admit(claim(1, 10_000_000), 36_000.0)


def test_the_whole_of_an_old_session_may_be_reported_lost() -> None:
    sessions = Sessions()
    assert all(sessions.admit(claim(9, 1_000_000 + seq), 1.0) for seq in range(60_000))


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, MAX_SEQ), st.floats(0, 1e6)), max_size=300))
def test_no_more_is_remembered_than_the_last_windows(claims: list[tuple[int, int, float]]) -> None:
    sessions = Sessions(new_a_minute=100)
    for session, seq, now in sorted(claims, key=lambda item: item[2]):
        sessions.admit(claim(session, seq), now)
        assert len(sessions._known) <= KNOWN_WINDOWS
