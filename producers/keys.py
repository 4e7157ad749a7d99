"""Keys: who a camera, a worker or a viewer is, in files. CURVE (RFC 26) encrypts with them and proves who is there.

    keys/
        cam1.key       secret and public key of `cam1`, mode 0600: it stays on the machine that uses it
        cam1.pub       the public key alone, one line: whoever dials cam1 needs it
        workers/w1.pub whom the work socket lets in
        viewers/hmi.pub whom the live socket lets in

A `.key` file is what `zmq.auth.load_certificate` reads, so that a viewer in plain pyzmq needs nothing of ours.
"""

import os
import re
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import zmq
from pydantic import AfterValidator, BeforeValidator, SecretStr
from zmq.auth import load_certificate
from zmq.utils import z85

from producers.errors import SettingsError

KEY_CHARS = 40  # 32 bytes in Z85 (RFC 32)
SECRET_NOTE = "# A secret key of Sightline's. It stays on this machine; hand out the .pub file beside it.\n"
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def checked_key(text: str) -> str:
    """A key as it is written: 40 characters of Z85.

    Raises:
        ValueError: it is none. The text is not repeated: it may be a secret.
    """
    try:
        if len(z85.decode(text)) == 32:
            return text
        fault = f"there are {len(text)}"
    except (KeyError, ValueError, struct.error):
        fault = "not all of this is Z85"
    raise ValueError(f"a public key is {KEY_CHARS} characters of Z85: {fault}")


def no_key(named: object) -> object:
    """What is given as the path of a key file, unchanged. A key in its place is refused before anything prints it.

    Args:
        named: as a person wrote it: a `Path` has lost a slash that was doubled or stood last, as one key in fifty has,
            and does not look like a key any more.

    Raises:
        ValueError: it is a key, not a file.
    """
    try:
        checked_key(str(named))
    except ValueError:
        return named
    if Path(str(named)).exists():
        return named  # a path may look like a key
    raise ValueError("expected the path of a key file, not a key: make one with `sightline keys new NAME`")


PublicKey = Annotated[str, AfterValidator(checked_key)]
KeyFile = Annotated[Path, BeforeValidator(no_key)]


@dataclass(frozen=True)
class KeyPair:
    """A public key and its secret, which no repr, log or message shows."""

    public: str
    secret: SecretStr

    def introduce(self, socket: "zmq.Socket[Any]", *, server_key: str) -> None:
        """Has a socket that will dial prove that it holds this pair, and talk to the holder of `server_key` alone."""
        socket.curve_serverkey = server_key.encode()
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.get_secret_value().encode()


def read_pair(file: Path) -> KeyPair:
    """Reads a key pair.

    Raises:
        SettingsError: the file can't be read, others can read it too, or it holds no key pair.
    """
    try:
        _refuse_exposed(file)
        public, secret = load_certificate(file)
        pair = checked_key(public.decode()), checked_key((secret or b"").decode())
    except OSError as error:
        raise SettingsError(f"key file {file} can't be read: {error.strerror or error}") from error
    except ValueError:  # what stands in the file is not repeated
        raise SettingsError(f"{file} holds no key pair: expected what `sightline keys new NAME` writes") from None
    if zmq.curve_public(pair[1].encode()).decode() != pair[0]:
        raise SettingsError(f"{file} holds no key pair: the public key is not that of the secret one")
    return KeyPair(pair[0], SecretStr(pair[1]))


def _refuse_exposed(file: Path) -> None:
    """A secret that others can read is none.

    A group may read a file that isn't ours: that is how systemd credentials and Kubernetes secrets are handed to us.
    """
    if os.name != "posix":
        return  # elsewhere a mode says nothing
    status = file.stat()
    ours = status.st_uid == os.geteuid()
    if status.st_mode & (0o077 if ours else 0o007):
        raise SettingsError(f"key file {file} can be read by others: chmod 600 {file}, or make a new key")


def read_public(file: Path) -> str:
    """Reads a public key.

    Raises:
        SettingsError: the file can't be read, or it holds no key.
    """
    try:
        return checked_key(file.read_text(encoding="ascii").strip())
    except OSError as error:
        raise SettingsError(f"{file} can't be read: {error.strerror}") from error
    except ValueError as error:  # not ASCII, or no key
        raise SettingsError(f"{file} holds no public key: one line of {KEY_CHARS} characters was expected") from error


def listed(folder: Path) -> list[Path]:
    """The files of a list of public keys: every `*.pub` in a folder.

    Raises:
        SettingsError: there is no such folder, or it can't be read.
    """
    try:
        return sorted(file for file in folder.iterdir() if file.suffix == ".pub")
    except OSError as error:
        raise SettingsError(
            f"list of keys {folder} can't be read: {error.strerror}; make the folder, and copy the .pub files of "
            "those who may come in into it"
        ) from error


@dataclass(frozen=True)
class KeyEntry:
    """One key in a folder.

    Attributes:
        name: of its file, without the suffix.
        role: `secret` (a pair), `public` (a public key alone), or the list it is on: `workers` or `viewers`.
        public: the public key; None if it can't be read.
        problem: why it can't be used; None if it can.
    """

    name: str
    role: Literal["secret", "public", "workers", "viewers"]
    public: str | None
    problem: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """For machines."""
        return asdict(self)


def entries(folder: Path) -> list[KeyEntry]:
    """Every key in a folder and on the lists in it.

    Raises:
        SettingsError: there is no such folder, or it can't be read.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no folder: `sightline keys new NAME` makes it")
    publics = listed(folder)
    secrets = sorted(folder.glob("*.key"))
    found = [_entry(file, "secret") for file in secrets]
    found += [_entry(file, "public") for file in publics if file.with_suffix(".key") not in secrets]
    for role in ("workers", "viewers"):
        if (folder / role).is_dir():
            found += [_entry(file, role) for file in listed(folder / role)]
    return found


def _entry(file: Path, role: Literal["secret", "public", "workers", "viewers"]) -> KeyEntry:
    try:
        return KeyEntry(file.stem, role, read_pair(file).public if role == "secret" else read_public(file))
    except SettingsError as error:
        return KeyEntry(file.stem, role, None, str(error))


def new_pair(folder: Path, name: str) -> KeyPair:
    """Makes `NAME.key` and `NAME.pub`; the folder, if it isn't there, for its owner alone.

    Raises:
        SettingsError: no name for a file, there is such a key already, or it can't be written.
    """
    if not re.fullmatch(NAME, name):
        raise SettingsError(f"{name!r} is no name for a key: letters, digits, dot, dash and underscore, at most 64")
    secret_file, public_file = folder / f"{name}.key", folder / f"{name}.pub"
    for file in (secret_file, public_file):
        if file.exists() or file.is_symlink():
            raise SettingsError(f"{file} is there already, and a key is never overwritten: choose another name")
    public, secret = (half.decode() for half in zmq.curve_keypair())
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(secret_file, f'{SECRET_NOTE}public-key = "{public}"\nsecret-key = "{secret}"\n', mode=0o600)
        _create(public_file, f"{public}\n", mode=0o644)
    except OSError as error:
        raise SettingsError(f"no key can be written into {folder}: {error.strerror}") from error
    return KeyPair(public, SecretStr(secret))


def _create(file: Path, text: str, *, mode: int) -> None:
    """Writes a new file that was never readable by more than `mode` allows; all of it or nothing."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            out.write(text)
    except OSError:
        file.unlink(missing_ok=True)
        raise
