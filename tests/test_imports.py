"""The import directions of DESIGN section 2, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "producers": {"torch", "torchvision", "redis", "model", "worker"},
    "model": {"zmq", "redis", "producers", "worker"},
    "worker": {"torch", "torchvision"},
}
SOURCES = [path for package in FORBIDDEN for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_the_packages_are_all_there() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(FORBIDDEN)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_place_allows(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    assert imported(path).isdisjoint(FORBIDDEN[package])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_camera_s_library_is_imported_in_one_place(path: Path) -> None:
    """Neither is in the base install, so nothing else may need it."""
    places = {"gi": "producers/aravis_camera.py", "pypylon": "producers/basler_camera.py"}
    for library, place in places.items():
        assert library not in imported(path) or str(path.relative_to(ROOT)) == place


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sockets_live_in_few_places(path: Path) -> None:
    """`zmq` and `pymodbus` only where sockets live, `redis` where results live, `mcap` where recordings lie."""
    name = str(path.relative_to(ROOT))
    allowed = {
        "zmq": {
            "producers/doors.py",
            "producers/doorkeeper.py",
            "producers/keys.py",
            "producers/publisher.py",
            "producers/dispatch.py",
            "producers/push.py",
            "producers/live.py",
            "producers/watching.py",
            "worker/intake.py",
            "worker/link.py",
            "worker/check.py",
            "worker/gate/live.py",
            "worker/bench/bursts.py",
        },
        "redis": {"worker/line.py", "worker/async_line.py"},
        "mcap": {"producers/recording/file.py", "producers/recording/reading.py"},
        "pymodbus": {
            "worker/gate/modbus_server.py",
            "worker/gate/modbus_caller.py",
            "worker/gate/modbus_client.py",
            "worker/bench/gate/plc.py",
            "worker/bench/gate/quick_plc.py",
        },
    }
    for library, places in allowed.items():
        assert library not in imported(path) or name in places
