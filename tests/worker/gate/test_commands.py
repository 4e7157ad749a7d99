"""The command block: what a PLC asks for, once each, and whatever lies in its registers."""

from hypothesis import given
from hypothesis import strategies as st

from tests.worker.gate.statuses import names, words
from worker.gate.commands import COMMAND_WORDS, Command, Orders
from worker.gate.plc import Acknowledge, ResetFault, SetBypass, StartChallenge, Synchronise, Trigger
from worker.gate.status import MAX_TRIGGER

commands = st.builds(
    Command,
    sequence=words,
    trigger=st.none() | st.integers(0, MAX_TRIGGER),
    part_id=names,
    acknowledge=words,
    reset_fault=st.booleans(),
    bypass=st.booleans(),
    start_challenge=st.booleans(),
    synchronise=st.booleans(),
)


@given(commands)
def test_a_block_comes_out_of_its_registers_as_it_went_in(command: Command) -> None:
    assert Command.read(command.words()) == command


@given(st.lists(words, min_size=COMMAND_WORDS, max_size=COMMAND_WORDS))
def test_any_registers_are_some_block(block: list[int]) -> None:
    asked = Orders().take(Command.read(block))
    assert all(len(request.part_id) <= 32 for request in asked if isinstance(request, Trigger))


def test_a_block_asks_for_all_that_it_holds_in_one_order() -> None:
    command = Command(
        sequence=9,
        trigger=4,
        part_id="A-1",
        acknowledge=7,
        reset_fault=True,
        bypass=True,
        start_challenge=True,
        synchronise=True,
    )
    assert Orders().take(command) == [
        ResetFault(),
        Synchronise(),
        SetBypass(True),
        StartChallenge(),
        Acknowledge(7),
        Trigger(4, "A-1"),
    ]


def test_a_block_with_the_same_sequence_is_read_once() -> None:
    orders = Orders()
    assert orders.take(Command(sequence=1, trigger=4)) == [Trigger(4)]
    assert orders.take(Command(sequence=1, trigger=5)) == []
    assert orders.taken == 1


def test_a_block_that_nobody_has_written_asks_for_nothing() -> None:
    orders = Orders()
    assert orders.take(Command.read([0] * COMMAND_WORDS)) == []
    assert orders.taken == 0


def test_a_doubled_trigger_is_handed_on_for_the_machine_to_count() -> None:
    orders = Orders()
    asked = [orders.take(Command(sequence=sequence, trigger=4)) for sequence in (1, 2)]
    assert asked == [[Trigger(4)], [Trigger(4)]]


def test_an_acknowledge_counter_that_has_not_changed_is_no_new_one() -> None:
    orders = Orders()
    assert orders.take(Command(sequence=1, acknowledge=3)) == [Acknowledge(3)]
    assert orders.take(Command(sequence=2, acknowledge=3)) == []


def test_the_bypass_is_a_level_and_tells_of_changes_alone() -> None:
    orders = Orders()
    levels = [orders.take(Command(sequence=at, bypass=on)) for at, on in enumerate([True, True, False, False], 1)]
    assert levels == [[SetBypass(True)], [], [SetBypass(False)], []]


def test_a_block_that_lay_there_when_the_link_came_up_is_not_taken_but_its_bypass_holds() -> None:
    orders = Orders()
    assert orders.resume(Command(sequence=7, trigger=4, synchronise=True, bypass=True)) == [SetBypass(True)]
    assert orders.take(Command(sequence=7, trigger=4)) == []
    assert orders.taken == 0
    assert orders.take(Command(sequence=8, trigger=5, bypass=True)) == [Trigger(5)]
    assert orders.taken == 8


def test_bytes_of_a_part_id_that_are_not_ascii_fit_no_part() -> None:
    command = Command(sequence=1, trigger=1, part_id="A-1042").words()
    command[2] = 0xFFFE
    assert not Command.read(command).part_id.isascii()


def test_a_part_id_that_is_filled_up_with_blanks_is_read_without_them() -> None:
    command = Command(sequence=1, trigger=1, part_id="A-1".ljust(32))
    assert Command.read(command.words()).part_id == "A-1"
