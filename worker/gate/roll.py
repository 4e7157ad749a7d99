"""The roll of parts: whose timers run, and who was decided lately. Pure."""

from collections import OrderedDict, deque
from collections.abc import Iterator

from worker.gate.parts import Part
from worker.gate.rules import Key

REMEMBERED = 256
"""Parts that are decided, to tell a late verdict from a stranger's."""


class Roll:
    """Finds parts by what verdicts are matched by, and keeps them in the order of their triggers."""

    def __init__(self) -> None:
        self._under_way: deque[Part] = deque()  # from the first that has not been taken off
        self._keys: dict[Key, Part] = {}
        self._decided: OrderedDict[Key, Part] = OrderedDict()

    def __len__(self) -> int:
        return len(self._under_way)

    def enter(self, part: Part, key: Key | None) -> None:
        """A part's timer runs; without a key no verdict finds it."""
        self._under_way.append(part)
        if key is not None:
            self._keys[key] = part

    def under_way(self, key: Key | None) -> Part | None:
        """The part whose timer runs."""
        return None if key is None else self._keys.get(key)

    def decided(self, key: Key | None) -> Part | None:
        """The part that was decided lately."""
        return None if key is None else self._decided.get(key)

    def close(self, part: Part, key: Key | None) -> None:
        """A part was decided."""
        if key is None or self._keys.get(key) is not part:
            return
        del self._keys[key]
        self._decided[key] = part
        self._decided.move_to_end(key)
        while len(self._decided) > REMEMBERED:
            self._decided.popitem(last=False)

    def forget_decided(self) -> None:
        """Keys may come again: they stand for other parts from here on."""
        self._decided.clear()

    @property
    def first(self) -> Part | None:
        """The one that was triggered first, and whose timer ends first; it may be decided by now."""
        return self._under_way[0] if self._under_way else None

    def take_off(self) -> Iterator[Part]:
        """Decided parts, in the order of their triggers, up to the first that is not decided."""
        while self._under_way and self._under_way[0].result is not None:
            yield self._under_way.popleft()

    def open(self) -> list[Part]:
        """Parts that are not decided."""
        return [part for part in self._under_way if part.result is None]
