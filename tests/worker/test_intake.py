"""The intake against a real publisher: credit, acknowledgement, reconnection, and hostile messages."""

import queue
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import zmq

from producers.frame import FrameId
from producers.protocol import (
    FRAME,
    FROM_WORKER,
    Bad,
    Busy,
    Credit,
    Done,
    Gone,
    Hello,
    Message,
    Ping,
    Pong,
    Refused,
    Who,
    decode,
    encode,
)
from producers.publisher import FramePublisher, PublisherSettings
from tests.worker.frames import frame, tag
from worker.batcher import ReceivedFrame
from worker.demo.processes import free_ports
from worker.intake import Intake
from worker.link import GoneFrame, LinkSettings
from worker.sessions import NEW_A_MINUTE
from worker.settings import CameraSettings

PICTURE = np.zeros((8, 8, 3), np.uint8)


class Taken:
    """An intake and what it delivered."""

    def __init__(self, endpoints: list[str], *, credit: int, server_key: str | None = None, **more: Any) -> None:
        self.inbox: queue.SimpleQueue[ReceivedFrame | GoneFrame] = queue.SimpleQueue()
        self.paused, self.least_s = False, 0.0
        link = LinkSettings(
            worker="w1",
            incarnation="i1",
            recipes=("part",),
            max_frame_bytes=1 << 20,
            longest_batch_ms=1.0,
            **{"ping_s": 0.05, **more},
        )
        cameras = [CameraSettings(endpoint=endpoint, recipe="part", server_key=server_key) for endpoint in endpoints]
        self.intake = Intake(
            {f"cam{number}": camera for number, camera in enumerate(cameras, 1)},
            link,
            credit=credit,
            deliver=self._deliver,
            paused=lambda: self.paused,
            least_s=lambda: self.least_s,
            beat_timeout_s=60,
        )
        self.intake.start()

    def _deliver(self, items: list[ReceivedFrame | GoneFrame]) -> None:
        for item in items:
            self.inbox.put(item)

    def next(self, timeout_s: float = 5) -> ReceivedFrame | GoneFrame:
        return self.inbox.get(timeout=timeout_s)

    def nothing_more(self, timeout_s: float = 0.3) -> bool:
        try:
            self.inbox.get(timeout=timeout_s)
        except queue.Empty:
            return True
        return False


@contextmanager
def taking(*ports: int, credit: int = 100, endpoint: str = "", **more: Any) -> Iterator[Taken]:
    """An intake whose cameras cam1, cam2... are at these ports."""
    endpoints = [endpoint] if endpoint else [f"tcp://127.0.0.1:{port}" for port in ports]
    taken = Taken(endpoints, credit=credit, **more)
    try:
        yield taken
    finally:
        taken.intake.close()


def publisher_at(port: int, **more: object) -> FramePublisher:
    fields = {"camera": "cam1", "work": f"tcp://127.0.0.1:{port}", "live": f"tcp://127.0.0.1:{free_ports(1)[0]}"}
    return FramePublisher(PublisherSettings.model_validate({**fields, **more}))


def eventually(condition: Callable[[], bool], timeout_s: float = 5) -> bool:
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


def id_of(item: ReceivedFrame | GoneFrame) -> FrameId:
    return item.header.id if isinstance(item, ReceivedFrame) else item.tag.id


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def test_a_frame_arrives_as_published_and_is_kept_until_stored(port: int) -> None:
    with publisher_at(port, budget_ms=5000) as publisher, taking(port) as taken:
        sent = publisher.publish(PICTURE + 7, part_id="A")
        got = taken.next()
        assert isinstance(got, ReceivedFrame)
        assert (got.header.id, got.header.part_id, got.recipe) == (sent, "A", "part")
        assert got.payload == (PICTURE + 7).tobytes()
        assert 0 <= got.deadline - got.received <= 5
        assert publisher.counts()["open"] == 1
        taken.intake.judged([sent])
        taken.intake.stored([sent])
        assert eventually(lambda: publisher.counts()["open"] == 0)


def test_no_more_frames_are_in_hand_than_credit(port: int) -> None:
    with publisher_at(port) as publisher, taking(port, credit=3) as taken:
        for _ in range(8):
            publisher.publish(PICTURE)
        first = [taken.next() for _ in range(3)]
        assert taken.nothing_more()
        taken.intake.stored([id_of(first[0])])
        taken.next()
        assert taken.nothing_more()


def test_verdicts_that_wait_for_redis_use_up_no_credit(port: int) -> None:
    with publisher_at(port) as publisher, taking(port, credit=2) as taken:
        for _ in range(10):
            publisher.publish(PICTURE)
        for _ in range(10):
            taken.intake.judged([id_of(taken.next())])
        assert taken.intake.holding == 10


def test_a_publisher_hears_that_a_verdict_waits_for_redis_only_if_it_waits_for_long(port: int) -> None:
    with publisher_at(port) as publisher, taking(port, credit=2) as taken:
        quick, slow = publisher.publish(PICTURE), publisher.publish(PICTURE)
        assert [id_of(taken.next()) for _ in range(2)] == [quick, slow]
        taken.intake.judged([quick, slow])
        taken.intake.stored([quick])
        assert eventually(lambda: publisher.counts()["judged"] == 1)
        assert publisher.counts()["open"] == 1
        taken.intake.stored([slow])
        assert eventually(lambda: publisher.counts()["open"] == 0)
        assert publisher.counts()["judged"] == 1


def test_a_paused_intake_takes_nothing_more(port: int) -> None:
    with publisher_at(port) as publisher, taking(port, credit=1) as taken:
        publisher.publish(PICTURE)
        got = taken.next()
        taken.paused = True
        publisher.publish(PICTURE)
        taken.intake.stored([id_of(got)])
        assert taken.nothing_more()
        taken.paused = False
        taken.next()


def test_a_frame_that_is_handed_back_comes_again_as_attempt_two(port: int) -> None:
    with publisher_at(port) as publisher, taking(port) as taken:
        publisher.publish(PICTURE)
        taken.intake.busy(id_of(taken.next()), "engine error")
        again = taken.next()
        assert isinstance(again, ReceivedFrame)
        assert again.header.attempt == 2


def test_after_three_attempts_a_frame_is_given_up_as_worker_error(port: int) -> None:
    with publisher_at(port) as publisher, taking(port) as taken:
        publisher.publish(PICTURE, part_id="poison")
        for _ in range(3):
            taken.intake.busy(id_of(taken.next()), "engine error")
        gone = taken.next()
        assert isinstance(gone, GoneFrame)
        assert (gone.reason, gone.tag.part_id) == ("worker_error", "poison")
        taken.intake.stored([gone.tag.id])
        assert eventually(lambda: publisher.counts()["open"] == 0)


def test_a_worker_may_be_there_before_its_publisher(port: int) -> None:
    with taking(port) as taken:
        time.sleep(0.2)
        with publisher_at(port) as publisher:
            publisher.publish(PICTURE)
            taken.next()


def test_a_publisher_that_comes_back_is_found_again(port: int) -> None:
    with taking(port) as taken:
        sessions = set()
        for _ in range(3):
            with publisher_at(port) as publisher:
                publisher.publish(PICTURE)
                got = taken.next(timeout_s=10)
                sessions.add(id_of(got).session)
                taken.intake.stored([id_of(got)])
                assert eventually(lambda: publisher.counts()["open"] == 0)
        assert len(sessions) == 3


def test_the_time_a_frame_spent_beside_the_camera_counts_against_its_budget(port: int) -> None:
    with publisher_at(port, budget_ms=60_000) as publisher:
        publisher.publish(PICTURE)
        time.sleep(0.4)
        with taking(port) as taken:
            got = taken.next()
            assert isinstance(got, ReceivedFrame)
            assert 0.4e6 <= got.wire_us < 5e6
            assert got.deadline - got.received <= 59.6


def test_a_worker_that_leaves_gets_nothing_more(port: int) -> None:
    with publisher_at(port) as publisher, taking(port) as taken:
        publisher.publish(PICTURE)
        taken.next()
        taken.intake.leave()
        time.sleep(0.2)
        publisher.publish(PICTURE)
        assert taken.nothing_more()


M = TypeVar("M", bound=Message)


class FakeCamera:
    """A ROUTER that speaks to one worker by hand: what a broken or hostile publisher could send."""

    def __init__(self, port: int) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.bind(f"tcp://127.0.0.1:{port}")
        self.peer = b""

    def send_frame(self, seq: int, **more: object) -> None:
        made = frame(seq, **more)
        self.send(FRAME, made.stamped(now=0, attempt=1).to_bytes(), made.payload)

    def expect(self, kind: type[M], patience_s: float = 5) -> M:
        """The next message of this kind; others are passed over."""
        return self.expect_any(kind, patience_s=patience_s)

    def expect_any(self, *kinds: type[M], patience_s: float = 5) -> M:
        ends = time.monotonic() + patience_s
        while time.monotonic() < ends:
            if self.socket.poll(100):
                self.peer, *parts = self.socket.recv_multipart()
                message = decode(parts, FROM_WORKER)
                if isinstance(message, kinds):
                    return message
        raise AssertionError(f"none of {kinds}")

    def send(self, *parts: bytes) -> None:
        self.socket.send_multipart([self.peer, *parts])

    def close(self) -> None:
        self.context.destroy(linger=0)


@pytest.fixture
def camera(port: int) -> Iterator[FakeCamera]:
    fake = FakeCamera(port)
    yield fake
    fake.close()


def test_hello_says_who_and_credit_how_much(port: int, camera: FakeCamera) -> None:
    with taking(port, credit=6):
        hello = camera.expect(Hello)
        assert (hello.name, hello.camera, hello.recipes, hello.held) == ("w1", "cam1", ("part",), ())
        credit = camera.expect(Credit)
        assert credit.total == 6


def test_credit_is_granted_anew_once_half_of_it_is_used(port: int, camera: FakeCamera) -> None:
    with taking(port, credit=6) as taken:
        camera.expect(Credit)
        for seq in range(4):
            camera.send_frame(seq)
            taken.intake.stored([id_of(taken.next())])
        while not (total := camera.expect_any(Credit, Done).total):  # the first three DONEs
            pass
        assert total in (9, 10), "not before the fourth frame: until then three of six are left"


def test_a_camera_that_has_no_credit_left_is_given_some_as_soon_as_a_verdict_waits_for_redis(
    port: int, camera: FakeCamera
) -> None:
    with taking(port, credit=1) as taken:
        camera.expect(Credit)
        for seq in range(3):
            camera.send_frame(seq)
            taken.intake.judged([id_of(taken.next())])
            credit = camera.expect(Credit)
            assert credit.total == seq + 2


def test_a_verdict_that_is_stored_brings_new_credit_in_the_same_message(port: int, camera: FakeCamera) -> None:
    with taking(port, credit=1, ping_s=60) as taken:
        camera.expect(Credit)
        for seq in range(3):
            camera.send_frame(seq)
            sent = id_of(taken.next())
            taken.intake.judged([sent], stored_soon=True)
            taken.intake.stored([sent])
            done = camera.expect_any(Credit, Done)
            assert isinstance(done, Done)
            assert (done.stored, done.total) == ((str(sent),), seq + 2)


def test_a_verdict_that_is_not_stored_as_soon_as_was_hoped_still_brings_new_credit(
    port: int, camera: FakeCamera
) -> None:
    with taking(port, credit=1, ping_s=60) as taken:
        camera.expect(Credit)
        camera.send_frame(0)
        taken.intake.judged([id_of(taken.next())], stored_soon=True)
        assert camera.expect_any(Credit, Done).total == 2


def test_nothing_is_granted_with_a_stored_verdict_while_there_is_no_room(port: int, camera: FakeCamera) -> None:
    with taking(port, credit=1, ping_s=60) as taken:
        camera.expect(Credit)
        camera.send_frame(0)
        sent = id_of(taken.next())
        taken.paused = True
        time.sleep(0.3)  # it looks whether it is at each tick
        taken.intake.stored([sent])
        assert camera.expect_any(Credit, Done).total == 0
        taken.paused = False
        assert camera.expect_any(Credit, Done).total == 2


def test_a_publisher_is_told_what_would_come_too_late(port: int, camera: FakeCamera) -> None:
    with taking(port, credit=1) as taken:
        assert camera.expect(Credit).least_ms == 0
        taken.least_s = 0.25
        assert eventually(lambda: camera.expect(Ping).least_ms == 250)
        camera.send_frame(0)
        taken.intake.stored([id_of(taken.next())])
        assert camera.expect(Done).least_ms == 250
        taken.least_s = 0.0
        assert eventually(lambda: camera.expect(Ping).least_ms == 0)


def test_an_unreadable_header_is_reported_by_its_number_and_costs_nothing_else(port: int, camera: FakeCamera) -> None:
    with taking(port) as taken:
        camera.expect(Credit)
        good = frame(1)
        camera.send(FRAME, good.stamped(now=0, attempt=1).to_bytes(), good.payload)
        camera.send(FRAME, b'{"camera": "cam1", "seq": 9223372036854775808}', b"")
        assert id_of(taken.next()).seq == 1
        bad = camera.expect(Bad)
        assert bad.n == 2
        camera.send(FRAME, frame(3).stamped(now=0, attempt=1).to_bytes(), good.payload)
        assert id_of(taken.next()).seq == 3


def test_a_frame_of_another_camera_is_not_taken(port: int, camera: FakeCamera) -> None:
    with taking(port) as taken:
        camera.expect(Credit)
        foreign = frame(0, camera="cam2")
        camera.send(FRAME, foreign.stamped(now=0, attempt=1).to_bytes(), foreign.payload)
        camera.expect(Bad)
        assert taken.nothing_more(0.1)


def test_a_frame_sent_twice_is_delivered_once(port: int, camera: FakeCamera) -> None:
    with taking(port) as taken:
        camera.expect(Credit)
        for _ in range(2):
            camera.send(FRAME, frame(1).stamped(now=0, attempt=1).to_bytes(), frame(1).payload)
        taken.next()
        assert taken.nothing_more()


def test_a_frame_given_up_twice_is_delivered_once(port: int, camera: FakeCamera) -> None:
    with taking(port) as taken:
        camera.expect(Credit)
        for _ in range(2):
            camera.send(*encode(Gone(reason="lost", frames=(tag(5),))))
        taken.next()
        assert taken.nothing_more()


def test_a_stranger_says_hello_again_and_lists_what_it_holds(port: int, camera: FakeCamera) -> None:
    with taking(port) as taken:
        camera.expect(Credit)
        camera.send(FRAME, frame(1).stamped(now=0, attempt=1).to_bytes(), frame(1).payload)
        held = id_of(taken.next())
        camera.send(*encode(Who()))
        hello = camera.expect(Hello)
        assert hello.held == (str(held),)
        taken.intake.stored([held])
        done = camera.expect(Done)
        assert done.stored == (str(held),)


def test_a_refused_worker_stops_asking(port: int, camera: FakeCamera) -> None:
    with taking(port):
        camera.expect(Credit)
        camera.send(*encode(Refused(why="not here")))
        time.sleep(0.3)
        while camera.socket.poll(0):
            camera.socket.recv_multipart()
        assert not camera.socket.poll(300)


def test_a_publisher_that_answers_no_ping_is_dialled_again(port: int, camera: FakeCamera) -> None:
    with taking(port, ping_s=0.05):
        camera.expect(Hello)
        deaf = camera.peer
        for _ in range(2):
            camera.expect(Hello)
        assert camera.peer != deaf


def test_a_message_above_the_limit_makes_the_worker_dial_again(port: int, camera: FakeCamera) -> None:
    with taking(port, ping_s=0.3):
        camera.expect(Credit)
        camera.send(FRAME, b"{}", bytes(2 << 20))
        camera.expect(Hello, patience_s=30)


def test_a_publisher_that_answers_is_kept(port: int, camera: FakeCamera) -> None:
    with taking(port, ping_s=0.02):
        camera.expect(Hello)
        first = camera.peer
        for _ in range(20):
            ping = camera.expect(Ping)
            camera.send(*encode(Pong(ping_mono_us=ping.mono_us, mono_us=int(time.monotonic() * 1e6))))
        assert camera.peer == first


@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"1F"],
        [b"1F", b"{}"],
        [b"1G", b"{", b""],
        [b"1G", b'{"reason": "ok"}', b'{"frames": []}'],
        [b"1G", b'{"reason": "lost"}', b'{"frames": [1]}'],
        [b"1O", b'{"ping_mono_us": -1, "mono_us": 1e400}', b""],
        [b"9Z", b"{}", b"{}", b"more"],
        [b"1G", b"[" * 100_000, b""],
    ],
)
def test_a_message_that_is_none_costs_nothing(port: int, camera: FakeCamera, parts: list[bytes]) -> None:
    with taking(port) as taken:
        camera.expect(Credit)
        camera.send(*parts)
        gone = Gone(reason="lost", frames=(tag(5),))
        camera.send(*encode(gone))
        got = taken.next()
        assert isinstance(got, GoneFrame)
        assert got.tag.seq == 5


# -- bounds ----------------------------------------------------------------------------------------------------------


def test_frames_beyond_the_credit_are_handed_back_and_not_kept(port: int, camera: FakeCamera) -> None:
    with taking(port, credit=2, ping_s=60) as taken:
        camera.expect(Credit)
        for seq in range(50):
            camera.send_frame(seq)
        handed_back = {message.id for message in (camera.expect(Busy) for _ in range(48)) if isinstance(message, Busy)}
        assert handed_back == {str(tag(seq).id) for seq in range(2, 50)}
        assert taken.intake.holding == 2
        assert taken.intake.refusals["credit"] == 48


def test_a_flood_of_sessions_ends_as_bad_frames_and_a_counter(port: int, camera: FakeCamera) -> None:
    with taking(port, credit=500, ping_s=60) as taken:
        camera.expect(Credit)
        for number in range(200):
            camera.send_frame(0, session=str(uuid.UUID(int=number)))
        assert eventually(lambda: taken.intake.refusals["session"] >= 200 - NEW_A_MINUTE - 10)
        bad = camera.expect(Bad)
        assert bad.n > NEW_A_MINUTE
        camera.send_frame(1, session=str(uuid.UUID(int=0)))  # a session that was there before goes on
        assert eventually(lambda: taken.intake.holding + taken.intake.refusals["session"] == 201)


def test_a_session_of_a_publisher_that_was_killed_may_be_reported_lost_as_a_whole(
    port: int, camera: FakeCamera
) -> None:
    with taking(port, ping_s=60) as taken:
        camera.expect(Credit)
        old = str(uuid.UUID(int=99))
        for start in range(0, 10_000, 500):
            tags = tuple(tag(seq, session=old) for seq in range(start, start + 500))
            camera.send(*encode(Gone(reason="lost", frames=tags)))
        got = [taken.next(timeout_s=20) for _ in range(10_000)]
        assert {id_of(item).seq for item in got} == set(range(10_000))
        assert not any(taken.intake.refusals.values())


def test_given_up_frames_of_another_camera_or_without_room_are_counted_and_not_kept(
    port: int, camera: FakeCamera
) -> None:
    with taking(port, hold_frames=3, ping_s=60) as taken:
        camera.expect(Credit)
        camera.send(*encode(Gone(reason="lost", frames=(tag(0, camera="cam2"),))))
        camera.send(*encode(Gone(reason="lost", frames=tuple(tag(seq) for seq in range(10)))))
        assert eventually(lambda: taken.intake.refusals["room"] == 7)
        assert taken.intake.refusals["camera"] == 1
        assert taken.intake.holding == 3
        taken.intake.stored([id_of(taken.next())])
        camera.expect(Done)
        camera.send(*encode(Gone(reason="lost", frames=(tag(9),))))  # as the publisher does after its time-out
        assert eventually(lambda: taken.intake.holding == 3)


def test_refusals_are_counted_by_their_reason(port: int, camera: FakeCamera) -> None:
    with taking(port, ping_s=60) as taken:
        camera.expect(Credit)
        camera.send(FRAME, b"{", b"")
        camera.send(FRAME, b"{}")
        camera.send(b"1O", b"{}", b"")
        camera.send_frame(0, camera="cam2")
        expected = {"unreadable": 2, "garbage": 1, "camera": 1, "session": 0, "credit": 0, "room": 0}
        assert eventually(lambda: taken.intake.refusals == expected)


def test_credit_is_shared_evenly_and_every_camera_has_at_least_one() -> None:
    ports = free_ports(3)
    with ExitStack() as stack:
        taken = stack.enter_context(taking(*ports, credit=2))
        for number, port in enumerate(ports, 1):
            publisher = stack.enter_context(publisher_at(port, camera=f"cam{number}"))
            for _ in range(4):
                publisher.publish(PICTURE)
        cameras = [id_of(taken.next()).camera for _ in range(3)]
        assert sorted(cameras) == ["cam1", "cam2", "cam3"]
        assert taken.nothing_more()


def test_no_more_bytes_are_in_flight_than_the_worker_wants(port: int) -> None:
    with publisher_at(port) as publisher, taking(port, credit=100, credit_bytes=2 * PICTURE.nbytes + 1) as taken:
        for _ in range(5):
            publisher.publish(PICTURE)
        first = id_of(taken.next())
        taken.next()
        assert taken.nothing_more()
        taken.intake.judged([first])
        taken.next()
        assert taken.nothing_more()


def test_a_publisher_that_moves_is_found_where_its_address_now_leads(tmp_path: Path) -> None:
    """An address is looked up anew each time it is dialled; here it is a link in the file system."""
    address = tmp_path / "work"
    with ExitStack() as stack:
        taken = None
        for place in ("here", "there"):
            live = f"tcp://127.0.0.1:{free_ports(1)[0]}"
            fields = {"camera": "cam1", "work": f"ipc://{tmp_path / place}", "live": live}
            with FramePublisher(PublisherSettings.model_validate(fields)) as publisher:
                address.unlink(missing_ok=True)
                address.symlink_to(tmp_path / place)
                taken = taken or stack.enter_context(taking(endpoint=f"ipc://{address}"))
                publisher.publish(PICTURE)
                got = id_of(taken.next(timeout_s=20))
                assert got.session == publisher.session
                taken.intake.stored([got])
                assert publisher.drain(timeout_s=20) == 0
