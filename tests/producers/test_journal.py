"""`producers.journal` and `producers.record`: what a killed publisher leaves, and what its successor makes of it."""

import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from producers.errors import AddressTaken, JournalDamaged, SettingsError
from producers.journal import EARLIER_AT_ONCE, LOOK_S, Journal, default_state
from producers.record import SLOT_BYTES, Record, SessionFile, read_record
from producers.retention import Limits, Retention
from tests.producers.test_retention import a_hello, a_tag

OPEN: list[Journal] = []

records = st.builds(
    Record,
    camera=st.from_regex(r"[a-z0-9_-]{1,32}", fullmatch=True),
    session=st.uuids().map(str),
    lowest=st.integers(0, 1000),
    next_seq=st.integers(1000, 2**53),
    captured_ns=st.integers(0, 2**63 - 1),
    simulated=st.booleans(),
)


@pytest.fixture(autouse=True)
def _none_stays_open() -> Iterator[None]:
    yield
    while OPEN:
        abandon(OPEN.pop())


def a_record(*, lowest: int = 0, next_seq: int = 0) -> Record:
    return Record("cam1", str(uuid.uuid4()), lowest, next_seq, captured_ns=5, simulated=False)


def open_journal(folder: Path, *, camera: str = "cam1", session: str = "", simulated: bool = True) -> Journal:
    journal = Journal(folder, camera=camera, session=session or str(uuid.uuid4()), simulated=simulated)
    OPEN.append(journal)
    return journal


def abandon(journal: Journal) -> None:
    """What the kernel does to a journal whose process is killed."""
    journal._own._file.close()
    journal._lock.release()


def killed(folder: Path, *, given_out: int, camera: str = "cam1", simulated: bool = True) -> str:
    """What a publisher that gave out so many seqs leaves when it is killed; its session."""
    session = str(uuid.uuid4())
    journal = open_journal(folder, camera=camera, session=session, simulated=simulated)
    for seq in range(given_out):
        journal.advance(seq + 1, captured_ns=1000 + seq)
    abandon(journal)
    return session


def sessions_in(folder: Path) -> set[str]:
    return {path.name.split(".")[1] for path in folder.glob("*.journal")}


def lost_in(retention: Retention) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for entry in retention.entries.values():
        assert entry.reason == "lost"
        found.setdefault(entry.tag.session, []).append(entry.tag.seq)
    return found


def store_all(retention: Retention) -> None:
    """One worker writes the verdicts of all that is given up."""
    retention.hello(b"w", a_hello("w1"), 0.0)
    gone = [str(entry.tag.id) for _, entry in retention.gone_due(0.0)]
    retention.done(b"w", stored=gone, judged=[])


# -- a record on disk ------------------------------------------------------------------------------------------------


@given(records, st.integers(0, 2**63))
def test_a_record_comes_back_as_it_was_written(record: Record, turn: int) -> None:
    assert Record.from_bytes(record.to_bytes(turn)) == (turn, record)


@given(records, st.data())
def test_a_record_with_a_changed_or_missing_byte_is_not_taken(record: Record, data: st.DataObject) -> None:
    whole = record.to_bytes(1)
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    assert Record.from_bytes(changed) is None
    assert Record.from_bytes(whole[:at]) is None


def test_the_record_written_last_is_the_one_that_is_read(tmp_path: Path) -> None:
    record = a_record()
    with closing(SessionFile(tmp_path, record)) as file:
        assert read_record(file.path) == record
        for next_seq in range(1, 6):
            record = replace(record, next_seq=next_seq)
            file.write(record)
            assert read_record(file.path) == record


@pytest.mark.parametrize("writes", [4, 5])
def test_a_torn_write_leaves_what_was_true_before_and_one_frame_more_to_be_sure(tmp_path: Path, writes: int) -> None:
    record = a_record()
    with closing(SessionFile(tmp_path, record)) as file:
        for next_seq in range(1, writes + 1):
            file.write(replace(record, next_seq=next_seq))
    torn = bytearray(file.path.read_bytes())
    newest = ((writes + 1) % 2) * SLOT_BYTES
    torn[newest + 20 : newest + 120] = bytes(100)
    file.path.write_bytes(torn)
    assert read_record(file.path).unfinished == range(writes)  # the older slot says one less


def test_a_file_with_both_slots_torn_is_damaged(tmp_path: Path) -> None:
    with closing(SessionFile(tmp_path, a_record(next_seq=3))) as file:
        pass
    for content in (b"", b"\0" * 2 * SLOT_BYTES, file.path.read_bytes()[:50]):
        file.path.write_bytes(content)
        with pytest.raises(JournalDamaged, match="neither"):
            read_record(file.path)


def test_a_file_under_another_session_s_name_is_damaged(tmp_path: Path) -> None:
    with closing(SessionFile(tmp_path, a_record(next_seq=3))) as file:
        pass
    with pytest.raises(JournalDamaged, match="another session"):
        read_record(file.path.rename(tmp_path / f"cam1.{uuid.uuid4()}.journal"))


# -- what a successor makes of it ------------------------------------------------------------------------------------


def test_every_frame_that_a_killed_publisher_gave_out_is_lost_under_its_own_session(tmp_path: Path) -> None:
    old = killed(tmp_path, given_out=5, simulated=False)
    journal, retention = open_journal(tmp_path), Retention(Limits())
    assert journal.pending == 5
    journal.look(retention, 0.0)
    assert lost_in(retention) == {old: [0, 1, 2, 3, 4]}
    tags = [entry.tag for entry in retention.entries.values()]
    assert {(tag.camera, tag.simulated, tag.captured_ns) for tag in tags} == {("cam1", False, 1004)}
    assert retention.counts["inherited"] == 5
    assert retention.counts["captured"] == 0, "they are not of this session"


def test_frames_that_were_finished_are_not_lost(tmp_path: Path) -> None:
    session = str(uuid.uuid4())
    journal, retention = open_journal(tmp_path, session=session), Retention(Limits())
    for seq in range(6):
        journal.advance(seq + 1, captured_ns=1)
        retention.keep_gone(a_tag(seq, session=session), "bad_frame")
    retention.hello(b"w", a_hello("w1"), 0.0)
    first_four = [str(entry.tag.id) for _, entry in retention.gone_due(0.0)][:4]
    retention.done(b"w", stored=first_four, judged=[])
    journal.look(retention, 0.0)
    abandon(journal)
    successor = Retention(Limits())
    open_journal(tmp_path).look(successor, 0.0)
    assert lost_in(successor) == {session: [4, 5]}


def test_a_session_s_file_goes_when_the_last_of_its_frames_has_its_verdict(tmp_path: Path) -> None:
    old = killed(tmp_path, given_out=3)
    journal, retention = open_journal(tmp_path, session=str(uuid.uuid4())), Retention(Limits())
    journal.look(retention, 0.0)
    assert old in sessions_in(tmp_path)
    store_all(retention)
    journal.look(retention, 1.0)
    assert old not in sessions_in(tmp_path)


def test_several_generations_of_crashes_lose_nothing(tmp_path: Path) -> None:
    olds = {killed(tmp_path, given_out=count): count for count in (2, 1, 4)}
    journal, retention = open_journal(tmp_path), Retention(Limits())
    journal.look(retention, 0.0)
    assert lost_in(retention) == {session: list(range(count)) for session, count in olds.items()}
    store_all(retention)
    journal.close(retention)
    assert sessions_in(tmp_path) == set()


def test_a_long_list_is_handed_on_bit_by_bit_and_in_whole(tmp_path: Path) -> None:
    count = 2 * EARLIER_AT_ONCE + 7
    old = killed(tmp_path, given_out=count)
    journal, retention = open_journal(tmp_path), Retention(Limits())
    seen: list[int] = []
    for turn in range(4):
        journal.look(retention, turn * 2 * LOOK_S)
        assert len(retention.entries) <= EARLIER_AT_ONCE
        seen += lost_in(retention).get(old, [])
        assert journal.pending == count - len(seen)
        store_all(retention)
    assert seen == list(range(count))


def test_a_clean_end_with_everything_stored_leaves_no_file(tmp_path: Path) -> None:
    session = str(uuid.uuid4())
    journal, retention = open_journal(tmp_path, session=session), Retention(Limits())
    journal.advance(1, captured_ns=1)
    retention.keep_gone(a_tag(0, session=session), "bad_frame")
    store_all(retention)
    journal.close(retention)
    assert sessions_in(tmp_path) == set()


def test_an_end_with_frames_unfinished_leaves_them_to_the_successor(tmp_path: Path) -> None:
    session = str(uuid.uuid4())
    journal, retention = open_journal(tmp_path, session=session), Retention(Limits())
    for seq in range(3):
        journal.advance(seq + 1, captured_ns=1)
    retention.keep_gone(a_tag(0, session=session), "bad_frame")
    store_all(retention)
    retention.keep_gone(a_tag(1, session=session), "bad_frame")  # and the third was never looked at
    journal.close(retention)
    successor = Retention(Limits())
    open_journal(tmp_path).look(successor, 0.0)
    assert lost_in(successor) == {session: [1, 2]}


def test_a_publisher_killed_before_its_first_frame_leaves_nothing_to_do(tmp_path: Path) -> None:
    killed(tmp_path, given_out=0)
    (tmp_path / f"cam1.{uuid.uuid4()}.new").write_bytes(b"half")
    journal = open_journal(tmp_path)
    assert journal.pending == 0
    journal.close(Retention(Limits()))
    assert [path.name for path in tmp_path.iterdir()] == ["cam1.lock"]


def test_another_camera_s_sessions_are_left_alone(tmp_path: Path) -> None:
    other = killed(tmp_path, given_out=3, camera="cam2")
    journal = open_journal(tmp_path)
    assert journal.pending == 0
    journal.close(Retention(Limits()))
    assert sessions_in(tmp_path) == {other}


def test_a_damaged_file_is_said_and_set_aside_and_the_others_are_taken(tmp_path: Path) -> None:
    bad, good = killed(tmp_path, given_out=3), killed(tmp_path, given_out=2)
    (tmp_path / f"cam1.{bad}.journal").write_bytes(b"\xff" * 5000)
    (tmp_path / f"cam1.{good}.journal").touch()
    with structlog.testing.capture_logs() as said:
        journal = open_journal(tmp_path)
    assert journal.pending == 2
    (error,) = [line for line in said if line["log_level"] == "error"]
    assert bad in error["why"]
    assert (tmp_path / f"cam1.{bad}.damaged").read_bytes() == b"\xff" * 5000


# -- what can't be done ----------------------------------------------------------------------------------------------


def test_a_second_publisher_of_the_same_camera_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    with pytest.raises(AddressTaken, match="cam1 has a publisher already"):
        open_journal(tmp_path)
    open_journal(tmp_path, camera="cam2").close()
    journal.advance(1, captured_ns=1)
    assert journal.failures == 0
    journal.close()
    open_journal(tmp_path).close()


def test_a_place_where_no_file_can_be_is_a_settings_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here already")
    with pytest.raises(SettingsError, match="journal"):
        open_journal(tmp_path / "file" / "state")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_disk_that_fails_is_said_once_counted_and_made_good_when_it_works_again(tmp_path: Path) -> None:
    session = str(uuid.uuid4())
    journal = open_journal(tmp_path, session=session)
    whole = journal._own._file
    with Path("/dev/full").open("r+b", buffering=0) as full, structlog.testing.capture_logs() as said:
        journal._own._file = full
        for seq in range(3):
            journal.advance(seq + 1, captured_ns=1)
    assert journal.failures == 3
    assert len(said) == 1
    journal._own._file = whole
    assert read_record(journal._own.path).next_seq == 0
    journal.look(Retention(Limits()), 0.0)  # nothing new to note, but what failed is written now
    assert read_record(journal._own.path).next_seq == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has its own")
def test_the_default_place_is_the_user_s_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state() == tmp_path / "sightline"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_state() == tmp_path / ".local" / "state" / "sightline"
