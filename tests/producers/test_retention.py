"""`producers.retention`: a frame is kept until its verdict is stored, and is with one worker at a time."""

from typing import Any

import pytest

from producers.frame import Frame, FrameHeader, FrameTag
from producers.kept import Entry, Peer
from producers.protocol import Credit, GoneReason, Hello
from producers.retention import REPORTED_AT_ONCE, Limits, Retention
from producers.states import FRAMES, Act, Event, State

SESSION = "0f8fad5b-d9cb-469f-a165-70867728950e"
A, B = b"peer-a", b"peer-b"
EXACT = Limits(frames=4, pixel_bytes=100, heartbeat_s=5.0, ack_timeout_s=30.0, max_attempts=3)


def a_tag(seq: int, **changes: Any) -> FrameTag:
    fields = {"camera": "cam1", "session": SESSION, "seq": seq, "captured_ns": 1, "simulated": True, **changes}
    return FrameTag.model_validate({"recipe": "part", **fields})


def a_frame(seq: int, *, size: int = 10, captured: float = 0.0, **changes: Any) -> Frame:
    pixels = {"encoding": "raw", "shape": (1, size, 1), "dtype": "uint8", "color": "mono", "crc32": 0}
    times = {"age_us": 0, "sent_mono_us": 0}
    header = FrameHeader.model_validate({**a_tag(seq, **changes).model_dump(), **pixels, **times})
    return Frame(header.tag(), header, bytes(size), captured)


def a_hello(name: str, **changes: Any) -> Hello:
    fields = {"name": name, "incarnation": "first", "camera": "cam1", "recipes": ["part"], **changes}
    return Hello.model_validate({"max_frame_bytes": 1000, "longest_batch_ms": 0, **fields})


def name_of(seq: int) -> str:
    return str(a_tag(seq).id)


def kept(*seqs: int, limits: Limits = EXACT, **changes: Any) -> Retention:
    """A retention that keeps these frames."""
    retention = Retention(limits)
    for seq in seqs:
        retention.keep(a_frame(seq, **changes))
    return retention


def join(retention: Retention, peer: Peer, *, credit: int, now: float = 0.0, **changes: Any) -> None:
    """A worker says HELLO and grants credit."""
    hello = a_hello(**{"name": peer.decode(), **changes})
    retention.hello(peer, hello, now)
    retention.grant(peer, Credit(total=credit), now=now)


def sent(retention: Retention, now: float = 0.0) -> list[tuple[Peer, int, int]]:
    """Who is sent which frame for the how-manieth time, now."""
    return [(peer, entry.tag.seq, entry.attempt) for peer, entry in retention.due(now)]


def gone(retention: Retention, now: float = 0.0) -> list[tuple[Peer, int, GoneReason]]:
    """Who is told to write which given-up frame's verdict, now."""
    return [(peer, entry.tag.seq, entry.reason) for peer, entry in retention.gone_due(now)]


def entry_of(retention: Retention, seq: int) -> Entry:
    return retention.entries[name_of(seq)]


# -- credit ----------------------------------------------------------------------------------------------------------


def test_nothing_is_sent_without_credit() -> None:
    retention = kept(0)
    join(retention, A, credit=0)
    assert sent(retention) == []
    retention.grant(A, Credit(total=1), now=0)
    assert sent(retention) == [(A, 0, 1)]


def test_credit_is_cumulative_and_never_shrinks() -> None:
    retention = kept(0, 1, 2)
    join(retention, A, credit=2)
    assert sent(retention) == [(A, 0, 1), (A, 1, 1)]
    retention.grant(A, Credit(total=2), now=0)
    retention.grant(A, Credit(total=1), now=0)
    assert sent(retention) == []
    retention.grant(A, Credit(total=3), now=0)
    assert sent(retention) == [(A, 2, 1)]


def test_hello_resets_credit() -> None:
    retention = kept(0)
    join(retention, A, credit=5)
    join(retention, A, credit=0)
    assert sent(retention) == []


def test_the_worker_with_more_credit_left_is_served_first() -> None:
    retention = kept(0, 1, 2, 3)
    join(retention, A, credit=1)
    join(retention, B, credit=3)
    assert [peer for peer, _, _ in sent(retention)] == [B, A, B, B]


def test_the_worker_with_less_in_hand_is_served_first_though_it_has_less_credit_left() -> None:
    retention = kept(0, 1)
    join(retention, A, credit=2)
    join(retention, B, credit=9)
    assert [peer for peer, _, _ in sent(retention)] == [B, A]


def test_a_frame_that_every_worker_would_refuse_ends_as_expired_beside_the_camera() -> None:
    retention = kept(0, budget_ms=1000)
    retention.keep(a_frame(1))  # without a budget
    join(retention, A, credit=9)
    join(retention, B, credit=0)
    for peer in (A, B):
        retention.grant(peer, Credit(total=0, least_ms=400), now=0.0)
    retention.keep(a_frame(2, budget_ms=1000, captured=0.05))
    assert sent(retention, now=0.625) == [(A, 1, 1), (A, 2, 1)], "which has 425 ms left"
    assert gone(retention) == [(A, 0, "expired")]


def test_a_worker_that_takes_whatever_comes_keeps_a_late_frame_alive() -> None:
    retention = kept(0, budget_ms=1000)
    join(retention, A, credit=9)
    join(retention, B, credit=0)
    retention.grant(A, Credit(total=9, least_ms=400), now=0.0)
    assert sent(retention, now=0.7) == [(A, 0, 1)]


def test_a_small_budget_is_not_held_against_a_frame() -> None:
    retention = kept(0, budget_ms=300)
    join(retention, A, credit=9)
    retention.grant(A, Credit(total=9, least_ms=400), now=0.0)
    assert sent(retention, now=0.07) == [(A, 0, 1)]
    retention.keep(a_frame(1, budget_ms=300))
    assert sent(retention, now=0.08) == []


def test_a_worker_may_change_its_mind_about_what_comes_too_late() -> None:
    retention = kept(0, budget_ms=1000)
    join(retention, A, credit=9)
    retention.grant(A, Credit(total=9, least_ms=400), now=0.0)
    retention.grant(A, Credit(total=9), now=0.0)
    assert sent(retention, now=0.9) == [(A, 0, 1)]


def test_a_worker_that_says_bye_gets_no_more_and_keeps_what_it_has() -> None:
    retention = kept(0, 1)
    join(retention, A, credit=1)
    sent(retention)
    retention.grant(A, Credit(total=9), now=0)
    retention.bye(A)
    assert sent(retention) == []
    retention.done(A, stored=[name_of(0)], judged=[])
    assert list(retention.entries) == [name_of(1)]


def test_no_more_bytes_are_with_a_worker_than_it_asked_for() -> None:
    retention = kept(0, 1, 2, size=40)
    join(retention, A, credit=9, credit_bytes=80)
    assert sent(retention) == [(A, 0, 1), (A, 1, 1)]
    retention.done(A, stored=[], judged=[name_of(0)])
    assert sent(retention) == [(A, 2, 1)]


def test_one_frame_fits_however_few_bytes_a_worker_asked_for() -> None:
    retention = kept(0, 1, size=500)
    join(retention, A, credit=9, credit_bytes=1)
    assert sent(retention) == [(A, 0, 1)]
    retention.done(A, stored=[name_of(0)], judged=[])
    assert sent(retention) == [(A, 1, 1)]


def test_a_large_frame_is_not_overtaken_for_ever_by_small_ones() -> None:
    retention = kept(0)
    retention.keep(a_frame(1, size=95))
    retention.keep(a_frame(2))
    join(retention, A, credit=9, credit_bytes=100)
    assert sent(retention) == [(A, 0, 1)]
    retention.done(A, stored=[name_of(0)], judged=[])
    assert sent(retention) == [(A, 1, 1)]


def test_a_frame_goes_to_who_has_room_for_its_bytes() -> None:
    retention = kept(0, 1, size=60)
    join(retention, A, credit=9, credit_bytes=100)
    join(retention, B, credit=1, credit_bytes=100)
    assert sent(retention) == [(A, 0, 1), (B, 1, 1)]


@pytest.mark.parametrize("how", ["reconnects", "loses its pixels beside the camera"])
def test_bytes_count_for_as_long_as_the_worker_has_them(how: str) -> None:
    retention = kept(0, 1, size=60)
    join(retention, A, credit=9, credit_bytes=100)
    sent(retention)
    if how == "reconnects":
        join(retention, B, credit=9, name=A.decode(), held=[name_of(0)], credit_bytes=100)
    else:
        retention._happen(entry_of(retention, 0), Event.SQUEEZED)
    assert sent(retention) == []
    retention.done(B if how == "reconnects" else A, stored=[name_of(0)], judged=[])
    assert [seq for _, seq, _ in sent(retention)] == [1]


def test_a_worker_is_asked_for_no_more_verdicts_of_given_up_frames_than_it_can_list_as_held() -> None:
    retention = Retention(EXACT)
    for seq in range(REPORTED_AT_ONCE + 1):
        retention.keep_gone(a_tag(seq), "lost")
    join(retention, A, credit=0)
    assert len(gone(retention)) == REPORTED_AT_ONCE
    retention.done(A, stored=[name_of(0)], judged=[])
    assert gone(retention) == [(A, REPORTED_AT_ONCE, "lost")]


# -- answers ---------------------------------------------------------------------------------------------------------


def test_stored_forgets_the_frame() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    retention.done(A, stored=[name_of(0)], judged=[])
    assert retention.entries == {}
    assert (retention.room.frames, retention.room.bytes) == (0, 0)
    assert retention.counts["stored"] == 1


def test_the_pixels_of_a_judged_frame_are_in_nobodys_way() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    retention.done(A, stored=[], judged=[name_of(0), name_of(0)])
    assert entry_of(retention, 0).state is State.JUDGED
    assert entry_of(retention, 0).frame is not None
    assert not retention.room.full(incoming_bytes=100, incoming_frames=4)
    assert retention.room.full(incoming_bytes=101, incoming_frames=4)
    assert retention.counts["judged"] == 1


def test_pixels_of_judged_frames_go_one_by_one_when_others_need_the_room() -> None:
    retention = kept(0, 1, 2, 3)
    join(retention, A, credit=3)
    sent(retention)
    retention.done(A, stored=[], judged=[name_of(1), name_of(0)])
    retention.keep(a_frame(4))
    assert [entry_of(retention, seq).frame is not None for seq in range(5)] == [True, False, True, True, True]
    retention.keep(a_frame(5))
    assert [entry_of(retention, seq).frame is not None for seq in range(6)] == [False, False, True, True, True, True]
    assert retention.room.frames == 4
    assert retention.room.full(incoming_bytes=0)


def test_what_a_judged_frame_takes_is_given_back_once() -> None:
    retention = kept(0, 1)
    join(retention, A, credit=2)
    sent(retention)
    retention.done(A, stored=[], judged=[name_of(0), name_of(1)])
    retention.done(A, stored=[name_of(0)], judged=[])
    assert (retention.room.frames, retention.room.bytes) == (1, 10)
    retention.lose(A)
    assert not retention.room.full(incoming_bytes=90, incoming_frames=3)
    assert retention.room.full(incoming_bytes=91, incoming_frames=3)  # taken back: its pixels are needed again


def test_a_judged_frame_stays_with_its_worker_however_long_redis_is_away() -> None:
    """`tick` looks at none of them: in the table, too, neither clock moves a frame that is judged."""
    retention = kept(0, budget_ms=1000)
    join(retention, A, credit=1)
    sent(retention)
    retention.done(A, stored=[], judged=[name_of(0)])
    for now in range(1, 200):
        retention.grant(A, Credit(total=1), now=now)
        assert retention.tick(now) == []
    assert (entry_of(retention, 0).state, entry_of(retention, 0).peer) == (State.JUDGED, A)
    assert {FRAMES[State.JUDGED, event] for event in (Event.OVERDUE, Event.EXPIRED)} == {Act.STAY}


@pytest.mark.parametrize("answer", ["stored", "judged", "busy", "bad"])
def test_an_answer_counts_only_from_the_worker_that_was_sent_the_frame(answer: str) -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    join(retention, B, credit=0)
    if answer == "busy":
        retention.busy(B, name_of(0))
    elif answer == "bad":
        retention.bad(B, 1)
    else:
        retention.done(B, **{"stored": [], "judged": [], answer: [name_of(0)]})
    assert entry_of(retention, 0).state is State.SENT
    assert entry_of(retention, 0).peer == A
    assert retention.room.frames == 1


def test_a_frame_that_waits_again_is_not_silenced_by_the_worker_that_lost_it() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    retention.tick(now=4.0)
    retention.lose(A)
    join(retention, A, credit=0)
    retention.done(A, stored=[name_of(0)], judged=[])
    assert name_of(0) in retention.entries


def test_busy_hands_the_frame_to_somebody_who_has_not_refused_it() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    join(retention, B, credit=1)
    retention.grant(A, Credit(total=9), now=0)
    retention.busy(A, name_of(0))
    assert sent(retention) == [(B, 0, 2)]


def test_bad_ends_the_nth_frame_since_hello() -> None:
    retention = kept(0, 1, 2)
    join(retention, A, credit=3)
    sent(retention)
    for n in (2, 0, 9):
        retention.bad(A, n)
    assert gone(retention) == [(A, 1, "bad_frame")]
    assert [entry_of(retention, seq).state for seq in (0, 2)] == [State.SENT, State.SENT]


def test_a_frame_taken_back_too_often_is_given_up() -> None:
    retention = kept(0)
    for attempt in (1, 2, 3):
        join(retention, A, credit=1)
        assert sent(retention) == [(A, 0, attempt)]
        retention.lose(A)
    join(retention, B, credit=9)
    assert sent(retention) == []
    assert gone(retention) == [(B, 0, "worker_error")]


# -- workers come and go ---------------------------------------------------------------------------------------------


def test_a_silent_worker_is_buried_and_its_frames_go_on() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    assert retention.tick(now=4.9) == []
    assert retention.tick(now=5.1) == [A.decode()]
    join(retention, B, credit=1, now=5.1)
    assert sent(retention, now=5.1) == [(B, 0, 2)]


def test_a_worker_may_be_silent_for_three_of_its_longest_batches() -> None:
    retention = kept(0)
    join(retention, A, credit=1, longest_batch_ms=4000)
    assert retention.tick(now=11.9) == []
    assert retention.tick(now=12.1) == [A.decode()]


def test_frames_of_a_dead_worker_go_on_in_the_order_they_were_captured() -> None:
    retention = kept(0, 1, 2)
    join(retention, A, credit=3)
    sent(retention)
    retention.lose(A)
    join(retention, B, credit=3)
    assert [seq for _, seq, _ in sent(retention)] == [0, 1, 2]


def test_a_judged_frame_of_a_dead_worker_is_judged_by_another() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    retention.done(A, stored=[], judged=[name_of(0)])
    retention.lose(A)
    join(retention, B, credit=1)
    assert sent(retention) == [(B, 0, 2)]


def test_a_judged_frame_of_a_dead_worker_whose_pixels_had_to_go_fails() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    retention.done(A, stored=[], judged=[name_of(0)])
    for seq in range(1, 5):
        retention.keep(a_frame(seq))
    retention.lose(A)
    join(retention, B, credit=0)
    assert gone(retention) == [(B, 0, "worker_error")]


def test_a_worker_that_reconnects_keeps_what_it_lists_as_held_and_loses_the_rest() -> None:
    retention = kept(0, 1)
    join(retention, A, credit=2)
    sent(retention)
    join(retention, B, credit=0, name=A.decode(), held=[name_of(1)])
    assert list(retention.workers) == [B]
    assert entry_of(retention, 1).peer == B
    assert entry_of(retention, 0).state is State.WAITING
    retention.done(B, stored=[name_of(1)], judged=[])
    assert list(retention.entries) == [name_of(0)]


def test_a_new_start_of_a_worker_ends_the_old_one() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    join(retention, B, credit=1, name=A.decode(), incarnation="second")
    assert list(retention.workers) == [B]
    assert sent(retention) == [(B, 0, 2)]


def test_listing_a_frame_of_somebody_else_as_held_changes_nothing() -> None:
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    join(retention, B, credit=0, held=[name_of(0)])
    retention.done(B, stored=[name_of(0)], judged=[])
    assert entry_of(retention, 0).peer == A


@pytest.mark.parametrize("new_peer", [A, B], ids=["same routing id", "new routing id"])
def test_a_judged_frame_that_a_reconnecting_worker_no_longer_holds_is_not_kept_for_ever(new_peer: Peer) -> None:
    """Its DONE was lost with the connection. Whoever writes its verdict again is told so by the once-only script."""
    retention = kept(0)
    join(retention, A, credit=1)
    sent(retention)
    retention.done(A, stored=[], judged=[name_of(0)])
    join(retention, new_peer, credit=1, name=A.decode(), held=[])
    assert sent(retention) == [(new_peer, 0, 2)]


# -- time and room ---------------------------------------------------------------------------------------------------


def test_an_unanswered_frame_goes_to_another_worker_after_the_ack_timeout() -> None:
    retention = kept(0)
    join(retention, A, credit=9)
    sent(retention)
    join(retention, B, credit=1, now=29.0)
    retention.grant(A, Credit(total=9), now=29.0)
    retention.tick(now=29.9)
    assert sent(retention, now=29.9) == []
    retention.tick(now=30.1)
    assert sent(retention, now=30.1) == [(B, 0, 2)]


def test_a_given_up_frame_whose_verdict_nobody_stores_is_offered_to_all_in_turn() -> None:
    """Also after each was silent once: Redis may have been away for all, and be away for one only now."""
    retention = Retention(EXACT)
    retention.keep_gone(a_tag(0), "bad_frame")
    join(retention, A, credit=1)
    join(retention, B, credit=1)
    asked = []
    for now in (0.0, 31.0, 62.0, 93.0):
        for peer in (A, B):
            retention.grant(peer, Credit(total=1), now=now)
        retention.tick(now)
        asked += [peer for peer, _, _ in gone(retention, now)]
    assert len(asked) == 4
    assert set(asked[:2]) == set(asked[2:]) == {A, B}


def test_given_up_frames_are_not_offered_to_a_worker_that_was_lost_meanwhile() -> None:
    retention = Retention(EXACT)
    for seq in range(3):
        retention.keep_gone(a_tag(seq), "bad_frame")
    join(retention, A, credit=1)
    join(retention, B, credit=1)
    asked = []
    for peer, entry in retention.gone_due(0.0):
        asked.append((peer, entry.tag.seq))
        if peer == A and A in retention.workers:
            retention.lose(A)  # as the dispatcher does when a send fails
    asked += [(peer, seq) for peer, seq, _ in gone(retention)]
    assert [peer for peer, _ in asked].count(A) == 1
    assert {seq for peer, seq in asked if peer == B} == {0, 1, 2}


def test_due_goes_on_when_a_send_fails_midway() -> None:
    retention = kept(0, 1, 2)
    join(retention, A, credit=9)
    join(retention, B, credit=3)
    for peer, _ in retention.due(0.0):
        if peer == A:
            retention.lose(A)
    sent(retention)
    assert {entry.peer for entry in retention.entries.values()} == {B}


@pytest.mark.parametrize(
    ("recipes", "reason"),
    [(None, "expired"), (["part"], "expired"), (["lid"], "no_recipe")],
    ids=["nobody there", "somebody without credit", "nobody with the recipe"],
)
def test_a_waiting_frame_ends_with_its_budget(recipes: list[str] | None, reason: GoneReason) -> None:
    retention = kept(0, budget_ms=1000, captured=10.0)
    if recipes:
        join(retention, A, credit=0, now=10.0, recipes=recipes)
    retention.tick(now=11.0)
    assert entry_of(retention, 0).state is State.WAITING
    retention.tick(now=11.1)
    assert entry_of(retention, 0).state is State.GONE
    assert entry_of(retention, 0).reason == reason
    assert retention.room.frames == 0


def test_a_worker_that_is_leaving_does_not_make_its_recipe_unknown() -> None:
    retention = kept(0, budget_ms=1000)
    join(retention, A, credit=0)
    retention.bye(A)
    retention.tick(now=1.1)
    assert entry_of(retention, 0).reason == "expired"


def test_a_frame_waits_without_end_for_its_recipe_if_it_has_no_budget() -> None:
    retention = kept(0, recipe="lid")
    join(retention, A, credit=9)
    retention.tick(now=4.0)
    assert sent(retention, now=4.0) == []
    join(retention, B, credit=9, recipes=["lid"])
    assert sent(retention, now=4.0) == [(B, 0, 1)]


def test_a_frame_without_a_recipe_may_go_to_anybody() -> None:
    retention = kept(0, recipe=None)
    join(retention, A, credit=1, recipes=["lid"])
    assert sent(retention) == [(A, 0, 1)]


def test_a_frame_that_is_too_large_for_its_worker_is_bad() -> None:
    retention = kept(0, size=2000)
    join(retention, A, credit=1)
    assert sent(retention) == []
    assert gone(retention) == [(A, 0, "bad_frame")]


def test_one_worker_with_a_small_limit_does_not_condemn_frames_that_another_takes() -> None:
    retention = kept(0, size=500)
    join(retention, A, credit=9, max_frame_bytes=0)
    join(retention, B, credit=1)
    assert sent(retention) == [(B, 0, 1)]


def test_retention_is_full_at_its_frames_or_its_bytes() -> None:
    retention = kept(0, 1, 2)
    assert not retention.room.full(incoming_bytes=70)
    assert retention.room.full(incoming_bytes=71)
    retention.keep(a_frame(3))
    assert retention.room.full(incoming_bytes=0)


def test_one_frame_fits_however_large() -> None:
    assert not Retention(EXACT).room.full(incoming_bytes=10_000)


def test_the_oldest_waiting_frame_is_dropped_and_still_gets_its_verdict() -> None:
    retention = kept(0, 1)
    assert retention.drop_oldest()
    assert (retention.room.frames, retention.room.bytes) == (1, 10)
    join(retention, A, credit=1)
    assert gone(retention) == [(A, 0, "lost")]
    assert sent(retention) == [(A, 1, 1)]


def test_a_worker_that_takes_all_and_answers_nothing_does_not_make_retention_grow() -> None:
    """Unsent pixels go first; when all are sent, the oldest of those go: memory is bounded whatever a worker grants."""
    retention = kept(0, 1, 2, 3)
    join(retention, A, credit=2**53)
    sent(retention)
    assert retention.room.full(incoming_bytes=10)
    retention.drop_oldest()
    assert not retention.room.full(incoming_bytes=10)
    assert set(retention.entries) == {name_of(seq) for seq in range(4)}


def test_what_no_worker_has_is_given_up_at_the_end() -> None:
    retention = kept(0, 1, 2)
    join(retention, A, credit=1)
    sent(retention)
    retention.give_up_waiting()
    assert gone(retention) == [(A, 1, "lost"), (A, 2, "lost")]
    assert entry_of(retention, 0).state is State.SENT
