"""What is done to the plant of `sightline bench gate`, when its time has come; and what the oracle is told of it."""

import heapq
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count

from worker.bench.gate.oracle import Outage, Until
from worker.bench.gate.plan import CAMERAS, PERIOD_MS, Blow, Plan, What
from worker.bench.gate.rig import GateRig, worker_name

LATER_NS = 50_000_000

Action = Callable[[], object]


class Blows:
    """Deals the plan's blows, and undoes them. One thread, which calls `turn` again and again.

    Args:
        rig: the plant.
        plan: of the run.

    Attributes:
        dealt: how many, by kind.
        outages: what the oracle has to know of them.
    """

    def __init__(self, rig: GateRig, plan: Plan) -> None:
        self._rig = rig
        self._order = count()
        self._due: list[tuple[int, int, Action]] = []
        self.dealt: Counter[str] = Counter()
        self.outages: list[Outage] = []
        deal = {
            What.GATEWAY: self._gateway,
            What.REDIS: self._redis,
            What.PLC: self._plc,
            What.CAMERA: self._camera,
            What.STALL: self._stall,
            What.LONG_STALL: self._stall,
            What.WORKER_KILL: self._kill_worker,
            What.WORKER_STOP: self._stop_worker,
        }
        for blow in plan.blows:
            self._at(rig.start_ns + int(blow.at * PERIOD_MS * 1e6), partial(deal[blow.what], blow))

    def turn(self) -> None:
        """Does what is due."""
        while self._due and self._due[0][0] <= time.time_ns():
            heapq.heappop(self._due)[2]()
        self._rig.mend()

    @property
    def over(self) -> bool:
        """Whether all are dealt and undone."""
        return not self._due

    def _at(self, due_ns: int, action: Action) -> None:
        heapq.heappush(self._due, (due_ns, next(self._order), action))

    def _later(self, blow: Blow, action: Action) -> None:
        self.dealt[blow.what.value] += 1
        self._at(time.time_ns() + int(blow.lasts_ms * 1e6), action)

    def _note(self, blow: Blow, from_ns: int, until: Until) -> None:
        self.outages.append(Outage(blow.what.value, from_ns, time.time_ns(), until))

    # -- the kinds ---------------------------------------------------------------------------------------------------

    def _gateway(self, blow: Blow) -> None:
        """Behind the outage stands what the PLC reads: it is out of step until it says otherwise."""
        began_ns = time.time_ns()
        self._rig.kill_gateway()
        self._rig.start_gateway()
        self._note(blow, began_ns, Until.DECIDED)
        self.dealt[blow.what.value] += 1

    def _redis(self, blow: Blow) -> None:
        if not self._rig.redis_up:
            return
        if not (self._rig.workers_here() and self._rig.gateway_here()):  # what still starts would end without Redis
            self._at(time.time_ns() + LATER_NS, partial(self._redis, blow))
            return
        began_ns = time.time_ns()
        self._rig.kill_redis()

        def back() -> None:
            self._rig.start_redis()
            self._note(blow, began_ns, Until.DECIDED)

        self._later(blow, back)

    def _plc(self, blow: Blow) -> None:
        if not self._rig.running("plc"):
            return
        began_ns = time.time_ns()
        self._rig.kill("plc")

        def back() -> None:
            self._rig.start_plc()
            self._note(blow, began_ns, Until.GATE)

        self._later(blow, back)

    def _stall(self, blow: Blow) -> None:
        began_ns = time.time_ns()
        if not self._rig.stop("plc"):
            return

        def back() -> None:
            self._rig.go_on("plc")  # it may have been restarted meanwhile
            self._note(blow, began_ns, Until.MOMENT)

        self._later(blow, back)

    def _camera(self, blow: Blow) -> None:
        """No outage: a part that was not seen has no PASS, and a new session is for the gateway to notice."""
        view = list(CAMERAS)[blow.which]
        if self._rig.running(CAMERAS[view]):
            self._rig.kill(CAMERAS[view])
            self._rig.start_camera(view)
            self.dealt[blow.what.value] += 1

    def _kill_worker(self, blow: Blow) -> None:
        name = worker_name(blow.which)
        if self._rig.running(name):
            self._rig.kill(name)  # `mend` starts another one, if there is a Redis for it to start with
            self.dealt[blow.what.value] += 1

    def _stop_worker(self, blow: Blow) -> None:
        name = worker_name(blow.which)
        if self._rig.stop(name):
            self._later(blow, lambda: self._rig.go_on(name))
