"""What a power cut, a kill or a worn disk leaves is read as far as it is whole, and nothing else is."""

import random
from pathlib import Path

import pytest

from producers.errors import RecordingError
from producers.recording.cli import check
from producers.recording.cli import list as list_recordings
from producers.recording.examine import examine, repair
from producers.recording.file import RecordingFile
from producers.recording.folder import Recording, files_of, moment_ns
from producers.recording.message import RecordedMessage
from producers.recording.reading import read_messages
from tests.producers.recording.frames import START_NS, STEP_NS, frame, header_of, read, record

FRAMES = [frame(seq) for seq in range(40)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of 40 frames in about ten chunks."""
    path = tmp_path_factory.mktemp("whole") / "a.mcap"
    record(path, *FRAMES, chunk_bytes=4000)
    return path


def chunk_ends(path: Path) -> list[int]:
    from mcap.reader import SeekingReader

    with path.open("rb") as stream:
        summary = SeekingReader(stream).get_summary()
    assert summary is not None
    return [index.chunk_start_offset + index.chunk_length for index in summary.chunk_indexes]


def seqs_of(messages: list[RecordedMessage]) -> list[int]:
    """Their seqs, once each has been found to be the very frame that was recorded."""
    for message in messages:
        header, _, payload = message.frame()
        assert payload == FRAMES[header.seq].payload
    return [message.seq for message in messages]


def test_a_file_cut_off_anywhere_is_read_up_to_its_last_whole_chunk(whole: Path, tmp_path: Path) -> None:
    """A hundred cuts: all frames of every chunk before the cut, in order, and a word about it."""
    data, ends, dice = whole.read_bytes(), chunk_ends(whole), random.Random(1)
    per_chunk = seqs_in_chunks(whole, ends)
    cut = tmp_path / "cut.mcap"
    for length in [*ends, *(dice.randrange(100, ends[-1]) for _ in range(100))]:
        cut.write_bytes(data[:length])
        told: list[str] = []
        found = seqs_of(list(read_messages(cut, tell=told.append)))
        assert found == list(range(sum(per_chunk[: sum(end <= length for end in ends)])))
        assert "was cut off" in told[-1]


def seqs_in_chunks(path: Path, ends: list[int]) -> list[int]:
    """How many messages each chunk has."""
    data = path.read_bytes()
    counts: list[int] = []
    for end in ends:
        part = path.with_name("part.mcap")
        part.write_bytes(data[:end])
        counts.append(len(list(read_messages(part))) - sum(counts))
        part.unlink()
    return counts


def test_zeros_at_the_end_are_no_messages(whole: Path, tmp_path: Path) -> None:
    """A file system that had not written the last blocks yet leaves zeros there."""
    ends = chunk_ends(whole)
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[: ends[3]] + bytes(100_000))
    told: list[str] = []
    assert seqs_of(list(read_messages(cut, tell=told.append))) == list(range(sum(seqs_in_chunks(whole, ends)[:4])))
    assert len(told) == 1


def test_a_damaged_byte_costs_a_chunk_and_is_told(whole: Path, tmp_path: Path) -> None:
    """Whichever byte it is: what is handed out is what was recorded, and what is not is said."""
    data, dice = whole.read_bytes(), random.Random(2)
    damaged = tmp_path / "damaged.mcap"
    most = max(seqs_in_chunks(whole, chunk_ends(whole)))
    for _ in range(100):
        at = dice.randrange(40, chunk_ends(whole)[-1])
        damaged.write_bytes(data[:at] + bytes([data[at] ^ (1 << dice.randrange(8))]) + data[at + 1 :])
        told: list[str] = []
        found = seqs_of(list(read_messages(damaged, tell=told.append)))
        assert len(found) >= len(FRAMES) - most
        assert told or len(found) == len(FRAMES)  # a bit of an index that we do not need


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    """A picture, an empty file, a folder without recordings."""
    (tmp_path / "a.mcap").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(RecordingError, match="not an MCAP file"):
        list(read_messages(tmp_path / "a.mcap"))
    (tmp_path / "folder.mcap" / "b.mcap").mkdir(parents=True)
    for place in ("nowhere", "folder.mcap"):
        with pytest.raises(RecordingError, match="holds no recording"):
            files_of(tmp_path / place)


def test_a_cut_off_file_is_repaired_into_one_that_others_read(whole: Path, tmp_path: Path) -> None:
    """All that can be read is in the new file, which has an index; the old one is kept if asked for."""
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[: chunk_ends(whole)[5] + 500])
    before = examine(cut, thoroughly=True)
    assert (before.whole, before.sound) == (False, False)
    saved, report = repair(cut, keep=True)
    assert saved == before.messages["frame"] == len(read(cut))
    assert report.sound
    assert examine(cut, thoroughly=True).sound
    assert cut.with_suffix(".damaged").is_file()


def test_a_file_that_is_being_written_is_nobody_s_to_repair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The recorder would write into a file that nobody can find any more. It has not been cut off, either."""
    file = RecordingFile(tmp_path / "a.mcap", chunk_bytes=4000, compression="none")
    for one in FRAMES:
        file.add_frame(one.header, one.header.to_bytes(), one.payload)
    with pytest.raises(RecordingError, match="is being written just now"):
        repair(file.path, keep=False)
    for command in (list_recordings, check):
        assert command(file.path) == 0
        said = capsys.readouterr()
        assert ("being written" in said.out, "cut off" in said.out + said.err) == (True, False)
    file.close()
    assert len(read(file.path)) == len(FRAMES)
    report = examine(file.path, thoroughly=True)
    assert (report.whole, report.writing) == (True, False)


def test_a_repair_that_can_not_be_written_leaves_the_old_file(whole: Path, tmp_path: Path) -> None:
    """Nothing is lost by trying."""
    with pytest.raises(RecordingError):
        repair(tmp_path / "not_there.mcap", keep=False)
    (tmp_path / "empty.mcap").write_bytes(whole.read_bytes()[:60])
    with pytest.raises(RecordingError, match="no message"):
        repair(tmp_path / "empty.mcap", keep=False)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.mcap"]


def test_examining_counts_what_is_there_and_what_is_missing(tmp_path: Path) -> None:
    """Seqs without a frame between others are counted, and are no damage."""
    record(tmp_path / "a.mcap", *(frame(seq) for seq in (0, 1, 2, 6, 7)), frame(0, camera="cam2"))
    for thoroughly in (False, True):
        report = examine(tmp_path / "a.mcap", thoroughly=thoroughly)
        assert (dict(report.cameras), report.sound) == ({"cam1": 5, "cam2": 1}, True)
        assert (report.first_ns, report.last_ns) == (START_NS, START_NS + 7 * STEP_NS)
    assert report.missing == 3


def test_files_in_a_folder_are_one_recording_in_the_order_of_time(tmp_path: Path) -> None:
    """Two cameras with a file each, and one that goes on in another file."""
    record(tmp_path / "b.mcap", *(frame(seq) for seq in range(5)))
    record(tmp_path / "c.mcap", *(frame(seq) for seq in range(5, 10)))
    record(tmp_path / "a.mcap", *(frame(seq, camera="cam2") for seq in range(10)))
    recording = Recording(tmp_path)
    found = [(message.seq, message.camera) for message in recording.messages()]
    assert [seq for seq, _ in found] == [seq for seq in range(10) for _ in range(2)]
    assert len(set(found)) == 20
    assert header_of(frame(0))["captured_ns"] == recording.start_ns


def test_a_file_of_a_folder_that_can_not_be_read_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A power cut may leave one with nothing in it."""
    record(tmp_path / "a.mcap", frame(0))
    (tmp_path / "b.mcap").write_bytes(b"")
    told: list[str] = []
    assert [message.seq for message in Recording(tmp_path, tell=told.append).messages()] == [0]
    assert "b.mcap is no recording" in told[0]
    assert check(tmp_path) == 1
    assert "b.mcap is no recording" in capsys.readouterr().err
    with pytest.raises(RecordingError, match="not an MCAP file"):
        check(tmp_path / "b.mcap")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90.0), ("1.5m", 90.0), ("2026-09-21T14:13:21", 1.0), ("2026-09-21T16:13:21+02:00", 1.0)],
)
def test_a_moment_is_an_offset_or_a_time(text: str, seconds: float) -> None:
    """From the start of the recording, or by the clock, UTC unless it says otherwise."""
    assert moment_ns(text, start_ns=START_NS) == START_NS + int(seconds * 1e9)
