"""The shelf: recipes that are ready to judge with, kept as the folder of bundles says while the worker runs."""

import threading
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import structlog

from model.errors import ModelError
from worker.background import step_back
from worker.recipes import EngineBuilder, Recipe, Stamp, check_name, find_bundles, stamp_of

log = structlog.get_logger("recipes")

LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class RecipeStatus:
    """How one recipe stands.

    Attributes:
        label: of the bundle that it is judged with; empty: there is none yet.
        refused: why what lies in its place is not used; None if it is.
    """

    label: str
    refused: str | None = None


class Shelf:
    """Looks at the folder of bundles each second, and makes an engine of whatever is new there.

    Takes bundles from the folder, hands ready recipes to the work loop, which takes them between two batches. A bundle
    that has changed is read once it looks the same twice in a row: one that is copied in file by file gets the time.
    A bad one is refused, once, and the recipe goes on as before. One that goes is served on: no frame pays for that.

    Args:
        folder: one directory a recipe, or a symbolic link to one.
        recipes: ready by now.
        builder: makes engines.
        every_s: between two looks.
    """

    def __init__(
        self, folder: Path, recipes: Mapping[str, Recipe], builder: EngineBuilder, *, every_s: float = LOOK_EVERY_S
    ) -> None:
        self._folder, self._builder, self._every_s = folder, builder, every_s
        self._recipes = dict(recipes)
        self._status = {name: RecipeStatus(recipe.label) for name, recipe in recipes.items()}
        self._dealt_with: dict[str, Stamp] = {name: recipe.stamp for name, recipe in recipes.items()}
        self._seen: dict[str, Stamp] = {}
        self._gone: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shelf", daemon=True)

    @property
    def recipes(self) -> dict[str, Recipe]:
        """What is ready, by name: a new mapping whenever something changes, and none is ever changed. Any thread."""
        return self._recipes

    def status(self) -> dict[str, RecipeStatus]:
        """How each recipe stands, by name. Any thread."""
        return self._status

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread. An engine that it is making is finished first."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        step_back()
        blind = False
        while not self._stop.wait(self._every_s):
            try:
                self.look()
                blind = False
            except OSError as error:  # a share that is away: what is ready judges on
                if not blind:
                    log.warning("recipes can't be looked at, trying again", folder=str(self._folder), error=str(error))
                blind = True

    def look(self) -> None:
        """One look at the folder. The thread's own, or a caller's who has not started it."""
        found = find_bundles(self._folder)
        for name, path in found.items():
            stamp = stamp_of(path)
            settled = stamp == self._seen.get(name)
            self._seen[name] = stamp
            if stamp and settled and stamp != self._dealt_with.get(name):
                self._dealt_with[name] = stamp
                self._take_in(name, path)
        self._let_go(self._status.keys() - found.keys())

    def _take_in(self, name: str, path: Path) -> None:
        before = self._recipes.get(name)
        label = before.label if before else ""
        try:
            check_name(name)
            recipe = self._builder.prepare(path, self._recipes.values(), before=before)
        except Exception as error:  # also what nobody foresaw, no memory for one: whatever it is, the old one judges on
            why = str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}"
            log.error("bundle refused, the recipe stays as it was", recipe=name, model=label or None, error=why)
            self._status = {**self._status, name: RecipeStatus(label, refused=why)}
            return
        if recipe.label != label:  # else it is the very bundle that is in use
            self._recipes = {**self._recipes, name: recipe}
        self._status = {**self._status, name: RecipeStatus(recipe.label)}

    def _let_go(self, names: Set[str]) -> None:
        """A bundle that is being exchanged may be away for a moment: gone is what is away twice in a row."""
        for name in sorted(names & self._gone & self._seen.keys()):
            self._seen.pop(name)
            self._dealt_with.pop(name, None)
            if name in self._recipes:
                log.warning("bundle is gone, its recipe is served until the worker ends", recipe=name)
                self._status = {**self._status, name: RecipeStatus(self._recipes[name].label)}
            else:
                self._status = {other: status for other, status in self._status.items() if other != name}
        self._gone = set(names)
