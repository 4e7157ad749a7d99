"""Frames of parts that nobody has announced: a trigger was missed, or comes late. Pure."""

from collections import OrderedDict

from worker.gate.rules import Key

AT_MOST = 64


class Strangers:
    """Parts that a camera has seen and whose trigger has not come. Each is counted once, when its time is up.

    Args:
        window_us: how long a trigger may still come.
    """

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._until_us: OrderedDict[Key, int] = OrderedDict()
        self._counted: OrderedDict[Key, None] = OrderedDict()

    def meet(self, key: Key, now_us: int) -> int:
        """A verdict of an unannounced part came. Returns how many had to be given up for it."""
        if key not in self._counted:
            self._until_us.setdefault(key, now_us + self._window_us)
        return self._give_up(len(self._until_us) - AT_MOST)

    def announced(self, key: Key) -> bool:
        """Its trigger has come. Returns whether a verdict was here before."""
        return self._until_us.pop(key, None) is not None

    def skipped(self, key: Key) -> None:
        """It was counted as missed by its number: not once more."""
        self._until_us.pop(key, None)
        self._remember(key)

    def expire(self, now_us: int) -> int:
        """Returns how many wait no longer: their triggers were missed."""
        return self._give_up(sum(until_us <= now_us for until_us in self._until_us.values()))

    def _give_up(self, count: int) -> int:
        for _ in range(max(0, count)):
            self._remember(self._until_us.popitem(last=False)[0])
        return max(0, count)

    def _remember(self, key: Key) -> None:
        self._counted[key] = None
        while len(self._counted) > AT_MOST:
            self._counted.popitem(last=False)
