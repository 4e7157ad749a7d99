"""One gateway a gate: a key in Redis that whoever has it renews, and that ends by itself when its holder dies."""

import threading
from importlib.resources import files

import structlog

from worker.errors import ResultsUnavailable
from worker.gate.inbox import Inbox, LeaseHeld, LeaseTaken, now_us
from worker.line import LineKeys, Server

log = structlog.get_logger("gate")

HOLD = files("worker.gate").joinpath("hold.lua").read_text(encoding="utf-8")
RENEWALS = 6  # within the time it lasts
LONGEST_PAUSE_S = 1.0  # Redis's clock comes with each: it must not grow old
QUICK_US = 20_000
SAMPLES = 3


class Lease:
    """The lease of one gate, as one gateway asks for it. One thread at a time.

    Each answer brings Redis's clock as well.

    Args:
        url: of Redis.
        line: name of the line.
        gate: name of the gate.
        holder: who asks: no two gateways have the same.
        lasts_ms: without a renewal.
        timeout_s: for one answer.
    """

    def __init__(self, url: str, line: str, gate: str, holder: str, *, lasts_ms: int, timeout_s: float) -> None:
        self.holder, self.lasts_ms = holder, lasts_ms
        self._key = LineKeys(line).gate(gate)
        self._server = Server(url, timeout_s=timeout_s)

    def hold(self) -> LeaseHeld | LeaseTaken:
        """Takes it if it is free, keeps it if it is ours.

        Redis's clock is asked again where an answer took long: how long is how much it may be wrong.

        Raises:
            ResultsUnavailable: no answer. It may have been taken, or kept, all the same.
        """
        anew = False
        best: tuple[int, int, int] | None = None
        for _ in range(SAMPLES):
            asked_us = now_us()
            taken, holder, seconds, micros = self._ask(self.lasts_ms)
            took_us = now_us() - asked_us
            if holder.decode(errors="replace") != self.holder:
                return LeaseTaken(holder.decode(errors="replace"))
            anew = anew or bool(taken)
            sample = took_us, int(seconds) * 1_000_000 + int(micros) - asked_us, asked_us
            best = min(best, sample) if best else sample
            if took_us <= QUICK_US:
                break
        assert best is not None  # noqa: S101 - there is at least one
        return LeaseHeld(until_us=asked_us + self.lasts_ms * 1000, anew=anew, offset_us=best[1])

    def release(self) -> None:
        """Lets it end now, if it is ours.

        Raises:
            ResultsUnavailable: no answer. It ends by itself.
        """
        if isinstance(self.hold(), LeaseHeld):
            self._ask(1)

    def close(self) -> None:
        """Closes the connection."""
        self._server.close()

    def _ask(self, lasts_ms: int) -> list[bytes]:
        answer: list[bytes] = self._server.run_script(HOLD, keys=[self._key], args=[self.holder, lasts_ms], replicas=0)
        return answer


class Keeper:
    """Asks for the lease again and again, in a thread of its own, and says in the inbox how it stands.

    Args:
        lease: from here on this thread's.
        inbox: where the answers go.
    """

    def __init__(self, lease: Lease, inbox: Inbox) -> None:
        self._lease, self._inbox = lease, inbox
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._told_away = False

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Gives the lease up, for another gateway to take at once."""
        self._stopping.set()
        self._thread.join()
        try:
            self._lease.release()
        except ResultsUnavailable as error:
            log.warning("the lease could not be given up: it ends by itself", error=str(error))
        self._lease.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._inbox.put(self._lease.hold())
                self._told_away = False
            except ResultsUnavailable as error:
                if not self._told_away:
                    log.warning("the lease could not be renewed", error=str(error))
                self._told_away = True
            self._stopping.wait(min(LONGEST_PAUSE_S, self._lease.lasts_ms / 1000 / RENEWALS))
