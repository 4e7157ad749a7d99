"""Finished cells on disk: what was computed once is never computed again, and never mistaken for something else."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import DataError

FORMAT = 1


class Store:
    """The cells of one table, in `OUT/TABLE.json`; rewritten whole, atomically, whenever one is added.

    A cell is found by everything that it depends on. Cells of other settings stay beside it, untouched.
    One process a table: what a second one adds in between is lost.

    Args:
        folder: made if need be.
        table: its name.

    Raises:
        DataError: the file is there, but it is no store of this table; or the folder can't be made.
    """

    def __init__(self, folder: Path, table: str) -> None:
        self.folder, self.table = folder, table
        self.path = folder / f"{table}.json"
        self._cells = self._read()

    def get(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The figures of the cell with these very settings; None if it has not been computed."""
        cell = self._cells.get(name_of(settings))
        return None if cell is None else dict(cell["figures"])

    def put(self, settings: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
        """Adds a cell; it is on disk when this returns.

        Args:
            settings: everything that the figures depend on, as JSON knows it.
            figures: what came of it, finite, as JSON knows it.

        Raises:
            DataError: the file can't be written.
        """
        self._cells[name_of(settings)] = {"settings": dict(settings), "figures": dict(figures)}
        document = {"format": FORMAT, "table": self.table, "cells": self._cells}
        fresh = self.path.with_name(f".{self.path.name}.fresh")
        try:
            with fresh.open("w") as file:
                json.dump(document, file, indent=1, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except OSError as error:
            raise DataError(f"{self.path} can't be written: {error.strerror}") from error

    def checkpoint(self, settings: Mapping[str, Any]) -> Path:
        """Where the training of a cell keeps what it can be taken up from."""
        return self.folder / f".{self.table}-{name_of(settings)}.pt"

    def _read(self) -> dict[str, Any]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            text = self.path.read_text() if self.path.exists() else None
        except OSError as error:
            raise DataError(f"{self.path} can't be read: {error.strerror}") from error
        if text is None:
            return {}
        try:
            document = json.loads(text)
            cells: dict[str, Any] = document["cells"]
            ours = (document["format"], document["table"]) == (FORMAT, self.table)
            whole = ours and all(isinstance(cell["figures"], dict) for cell in cells.values())
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            raise DataError(f"{self.path} holds no cells of {self.table}: move it away, or choose another --out")
        return cells


def name_of(settings: Mapping[str, Any]) -> str:
    """A digest that differs whenever a setting does."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]
