"""`sightline check`: what is installed and from where, what the settings are, and whether every connection works."""

import importlib
import importlib.metadata
import platform
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zmq

import producers.protocol as protocol
from producers.daemon import load_settings
from producers.errors import ProtocolError, SettingsError
from producers.keys import KeyPair
from worker.errors import ResultsUnavailable
from worker.line import connect, redis_errors, without_secrets
from worker.settings import CameraSettings, WorkerSettings

ANSWER_MS = 2000


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: was looked at.
        ok: true or false if it was tried, None if it is just so.
        detail: one sentence.
    """

    what: str
    ok: bool | None
    detail: str

    def to_json(self) -> dict[str, str | bool | None]:
        """For machines."""
        return asdict(self)


def examine(config: Path | None, redis_url: str | None) -> list[Finding]:
    """Looks at the installation, and at what a worker's settings name.

    Args:
        config: a worker's TOML file, or None.
        redis_url: a Redis to try besides, or instead of the file's.

    Raises:
        SettingsError: the file can't be read.
    """
    findings = _installation()
    settings = load_settings(WorkerSettings, config, {"redis": redis_url}) if config else None
    if settings is not None:
        findings += _settings(settings)
    url = settings.redis.get_secret_value() if settings else redis_url
    if url:
        findings.append(_redis(url))
    if settings is not None:
        pair, found = _key(settings)
        findings += found
        findings += [_camera(name, camera, pair) for name, camera in settings.cameras.items()]
        findings += [_bundle(settings.recipes / camera.recipe, settings) for camera in settings.cameras.values()]
        findings += [_evidence(settings.evidence)] if settings.evidence else []
    return findings


def _installation() -> list[Finding]:
    found = [Finding("python", None, f"{platform.python_version()} on {platform.system()} {platform.machine()}")]
    for package in ("producers", "model", "worker"):
        file = importlib.import_module(package).__file__ or "nowhere"
        found.append(Finding(package, None, f"loaded from {Path(file).parent}"))
    for distribution in ("sightline", "pyzmq", "redis", "numpy", "opencv-python-headless", "torch", "torchvision"):
        try:
            detail = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            needed = " (only a worker needs it)" if distribution.startswith("torch") else ""
            detail = f"not installed{needed}"
        found.append(Finding(distribution, None, detail))
    return found


def _settings(settings: WorkerSettings) -> list[Finding]:
    plain = settings.model_dump(mode="json")
    plain["redis"] = without_secrets(settings.redis.get_secret_value())
    return [Finding(f"setting {key}", None, str(value)) for key, value in plain.items()]


def _redis(url: str) -> Finding:
    client = connect(url, timeout_s=ANSWER_MS / 1000)
    try:
        with redis_errors(url):
            started = time.monotonic()
            ask: Any = client.execute_command
            said = ask("HELLO")  # any user may; INFO says more than a worker needs to know
            took_ms = (time.monotonic() - started) * 1000
    except ResultsUnavailable as error:
        return Finding("redis", False, str(error))
    finally:
        client.close()
    hello = said if isinstance(said, dict) else dict(zip(said[::2], said[1::2], strict=True))
    version, role = (hello[key].decode() for key in (b"version", b"role"))
    detail = f"{version} at {without_secrets(url)} answers in {took_ms:.1f} ms"
    if role != "master":
        return Finding("redis", False, f"{detail}, but it is a {role}: it takes no verdicts")
    return Finding("redis", True, detail)


def _key(settings: WorkerSettings) -> tuple[KeyPair | None, list[Finding]]:
    """The worker's key pair, and what there is to say of it: its public half alone."""
    try:
        pair = settings.key_pair()
    except SettingsError as error:
        return None, [Finding("key", False, str(error))]
    if pair is None:
        return None, []
    return pair, [Finding("key", True, f"{settings.key}; cameras must list its public key, {pair.public}")]


def _camera(name: str, camera: CameraSettings, pair: KeyPair | None) -> Finding:
    """A stranger's PING: a publisher answers WHO, and nothing comes of it."""
    endpoint = camera.endpoint
    if camera.server_key and pair is None:
        return Finding(f"camera {name}", False, f"{endpoint} is not tried without a key")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, protocol.MAX_CONTROL_BYTES)
    if camera.server_key and pair is not None:
        pair.introduce(socket, server_key=camera.server_key)
    try:
        socket.connect(endpoint)
        socket.send_multipart(protocol.encode(protocol.Ping(mono_us=0, total=0)))
        if not socket.poll(ANSWER_MS):
            return Finding(f"camera {name}", False, f"nobody answers at {endpoint}: {_why(camera)}")
        answer = protocol.decode(socket.recv_multipart(), protocol.FROM_PUBLISHER)
        ok = isinstance(answer, protocol.Who)
        return Finding(f"camera {name}", ok, f"a publisher answers at {endpoint}")
    except (zmq.ZMQError, ProtocolError) as error:
        return Finding(f"camera {name}", False, f"{endpoint}: {error}")
    finally:
        context.destroy(linger=0)


def _why(camera: CameraSettings) -> str:
    """What may be wrong where nobody answers: a publisher says nothing to those it does not let in."""
    if camera.server_key:
        return "it is not there, server_key is not its key, or it does not list this worker's key"
    return "it is not there, or it asks for keys"


def _bundle(path: Path, settings: WorkerSettings) -> Finding:
    what = f"recipe {path.name}"
    try:
        from model.bundle import read_bundle
        from model.errors import ModelError
    except ImportError as error:
        return Finding(what, False, f"can't be read without {error.name}: pip install 'sightline[worker]'")
    try:
        bundle = read_bundle(path)
        why = bundle.choice(settings.device, settings.engine).why
        calibration = bundle.on(settings.device, settings.engine).manifest.calibration
    except ModelError as error:
        return Finding(what, False, str(error))
    watched = "" if calibration.scores else "; no drift watch, it keeps no calibration scores: run sightline calibrate"
    return Finding(what, True, f"{bundle.label}, threshold {calibration.threshold:.4g}; {why}{watched}")


def _evidence(folder: Path) -> Finding:
    """Whether pictures of rejects can be written there: a file is, and removed again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        return Finding("evidence", False, f"{folder} can't be written: {error.strerror}")
    return Finding("evidence", True, f"{folder} can be written, {shutil.disk_usage(folder).free >> 20} MiB are free")
