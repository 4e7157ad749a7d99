"""What a PLC writes: one block of registers, and what it asks for by it. Pure.

A block counts as new when its sequence differs from the last one's. The sequence is the last register: whoever writes
the block in one request (FC16), or the sequence last, is never read in the middle. A block may do several things at
once, in this order: reset the fault, synchronise, set the bypass, start a challenge, acknowledge, trigger.

- A trigger is read where its bit is set; number and part id lie in the block. A block without it, to acknowledge only,
  may leave anything there.
- The acknowledge counter is read where it has changed, and is not 0.
- Bypass is a level: whatever the newest block says, holds.
- The other bits act once in each new block that has them set.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.gate.plc import Acknowledge, Request, ResetFault, SetBypass, StartChallenge, Synchronise, Trigger
from worker.gate.words import Field, Kind, Value, lay, pack

TRIGGER, RESET_FAULT, BYPASS, START_CHALLENGE, SYNCHRONISE = (1 << bit for bit in range(5))

COMMANDS: tuple[Field, ...] = (
    ("trigger", Kind.U32, "number of the trigger, one more with each part, 0 after 4294967295"),
    ("part_id", Kind.TEXT, "of the part, filled up with zeros or blanks; empty: it has none"),
    ("acknowledge", Kind.U16, "counter of the newest result that was taken; 0: none yet"),
    ("bits", Kind.U16, "0 this block is a trigger, 1 reset fault, 2 bypass (level), 3 start challenge, 4 synchronise"),
    ("sequence", Kind.U16, "another one with each block, and never 0; taken repeats it. At its start: taken + 1"),
)
COMMAND_AT = 500
COMMAND_WORDS = sum(kind.words for _, kind, _ in COMMANDS)
SEQUENCE_AT = COMMAND_AT + COMMAND_WORDS - 1
_ROWS = {row.name: row for row in lay(COMMAND_AT, COMMANDS)}


@dataclass(frozen=True)
class Command:
    """A command block.

    Attributes:
        sequence: 1 to 65535; another one makes the block a new one. 0: nobody has written it.
        trigger: number, 0 to 2**32 - 1; None: it is no trigger.
        part_id: of the part, up to 32 ASCII bytes; empty: it has none.
        acknowledge: counter of the newest result that was taken; 0: none yet.
    """

    sequence: int
    trigger: int | None = None
    part_id: str = ""
    acknowledge: int = 0
    reset_fault: bool = False
    bypass: bool = False
    start_challenge: bool = False
    synchronise: bool = False

    def words(self) -> list[int]:
        """As registers, to be written to `COMMAND_AT` in one request."""
        flags = (
            (TRIGGER, self.trigger is not None),
            (RESET_FAULT, self.reset_fault),
            (BYPASS, self.bypass),
            (START_CHALLENGE, self.start_challenge),
            (SYNCHRONISE, self.synchronise),
        )
        values: dict[str, Value] = {
            "trigger": self.trigger or 0,
            "part_id": self.part_id,
            "acknowledge": self.acknowledge,
            "bits": sum(bit for bit, on in flags if on),
            "sequence": self.sequence,
        }
        return [word for name, kind, _ in COMMANDS for word in pack(kind, values[name])]

    @classmethod
    def read(cls, words: Sequence[int]) -> "Command":
        """What registers say, from `COMMAND_AT` on. Bytes of a part id that are not ASCII fit no part's id."""
        value = {name: row.value(words, COMMAND_AT) for name, row in _ROWS.items()}
        bits = int(value["bits"])
        return cls(
            sequence=int(value["sequence"]),
            trigger=int(value["trigger"]) if bits & TRIGGER else None,
            part_id=str(value["part_id"]),
            acknowledge=int(value["acknowledge"]),
            reset_fault=bool(bits & RESET_FAULT),
            bypass=bool(bits & BYPASS),
            start_challenge=bool(bits & START_CHALLENGE),
            synchronise=bool(bits & SYNCHRONISE),
        )


class Orders:
    """Reads one block after another: what is new in it. One thread.

    Attributes:
        taken: sequence of the last block that was taken; 0: none yet.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._seen = 0
        self._bypass, self._acknowledged = False, 0

    def resume(self, command: Command) -> list[Request]:
        """The block that lies there when a link comes up, or while nobody can say that it is taken.

        It may be old: only its bypass holds, and it is not taken.
        """
        self._seen = command.sequence
        return self._switched(command)

    def take(self, command: Command) -> list[Request]:
        """What a block asks for; nothing, if it is not new."""
        if command.sequence in (0, self._seen):
            return []
        self.taken = self._seen = command.sequence
        asked: list[Request] = []
        if command.reset_fault:
            asked.append(ResetFault())
        if command.synchronise:
            asked.append(Synchronise())
        asked += self._switched(command)
        if command.start_challenge:
            asked.append(StartChallenge())
        if command.acknowledge not in (0, self._acknowledged):
            asked.append(Acknowledge(command.acknowledge))
        self._acknowledged = command.acknowledge
        if command.trigger is not None:
            asked.append(Trigger(command.trigger, command.part_id))
        return asked

    def _switched(self, command: Command) -> list[Request]:
        if command.bypass is self._bypass:
            return []
        self._bypass = command.bypass
        return [SetBypass(command.bypass)]
