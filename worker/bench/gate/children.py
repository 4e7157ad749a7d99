"""Processes of `sightline bench gate` that are spawned or forked off, and can be killed, stopped and let go on."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

from worker.demo.processes import signals_put_off


class Children:
    """Processes by name. One thread."""

    def __init__(self) -> None:
        self.spawning = multiprocessing.get_context("spawn")  # nothing of this process's memory is in the others
        self._forking = multiprocessing.get_context("forkserver")
        self._running: dict[str, BaseProcess] = {}

    def spawn(self, name: str, run: Callable[..., None], *arguments: object) -> None:
        """Starts one anew."""
        self._start(name, self.spawning, run, arguments)

    def fork(self, name: str, module: str, run: Callable[..., None], *arguments: object) -> None:
        """Forks one off a process that has a module's imports behind it: it is up within tens of milliseconds."""
        self._forking.set_forkserver_preload([module])
        self._start(name, self._forking, run, arguments)

    def _start(self, name: str, context: BaseContext, run: Callable[..., None], arguments: tuple[object, ...]) -> None:
        of_context: Any = context
        process = of_context.Process(target=run, args=arguments, daemon=True)
        with signals_put_off():
            process.start()
        self._running[name] = process

    def running(self, name: str) -> bool:
        """Whether it was started and has not ended."""
        return name in self._running and self._running[name].is_alive()

    def exit_code(self, name: str) -> int | None:
        """Of one that has ended by itself; None: it goes on, or was killed here."""
        return self._running[name].exitcode if name in self._running else None

    def kill(self, name: str) -> None:
        """Ends one as a power cut does, also one that was stopped."""
        process = self._running.pop(name)
        process.kill()
        process.join()

    def kill_all(self) -> None:
        """Ends all of them."""
        for name in list(self._running):
            self.kill(name)

    def stop(self, name: str) -> bool:
        """Stops one where it stands. Returns whether it runs at all."""
        return self._signal(name, signal.SIGSTOP)

    def go_on(self, name: str) -> bool:
        """Lets it go on."""
        return self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: int) -> bool:
        process = self._running.get(name)
        if process is None or process.pid is None or not process.is_alive():
            return False
        os.kill(process.pid, number)
        return True
