"""Keys in files: modes, what is refused, and that no message ever repeats a secret."""

import os
import stat
from pathlib import Path

import pytest
import zmq
import zmq.auth
from pydantic import BaseModel, ValidationError

from producers.errors import SettingsError
from producers.keys import KeyFile, PublicKey, entries, listed, new_pair, read_pair, read_public

posix = pytest.mark.skipif(os.name != "posix", reason="modes say nothing here")
as_root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")


def test_a_new_pair_is_two_files_that_read_back_and_belong_together(tmp_path: Path) -> None:
    pair = new_pair(tmp_path / "keys", "cam1")
    assert read_pair(tmp_path / "keys" / "cam1.key") == pair
    assert read_public(tmp_path / "keys" / "cam1.pub") == pair.public
    assert zmq.curve_public(pair.secret.get_secret_value().encode()).decode() == pair.public


def test_plain_pyzmq_reads_a_key_file(tmp_path: Path) -> None:
    """So a viewer needs nothing of ours."""
    pair = new_pair(tmp_path, "hmi")
    public, secret = zmq.auth.load_certificate(tmp_path / "hmi.key")
    assert (public.decode(), secret) == (pair.public, pair.secret.get_secret_value().encode())


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_their_owner_can_read_a_secret_and_its_folder(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        new_pair(tmp_path / "deep" / "keys", "cam1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "keys" / "cam1.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "deep" / "keys").stat().st_mode) == 0o700


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_can_read_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    pair = new_pair(tmp_path, "cam1")
    file = tmp_path / "cam1.key"
    file.chmod(mode)
    with pytest.raises(SettingsError, match=f"chmod 600 {file}") as refusal:
        read_pair(file)
    assert pair.secret.get_secret_value() not in str(refusal.value)


@as_root
@pytest.mark.parametrize(("mode", "fits"), [(0o440, True), (0o444, False)])
def test_a_secret_that_somebody_else_hands_to_our_group_may_be_used(tmp_path: Path, mode: int, fits: bool) -> None:
    """As systemd and Kubernetes do."""
    pair = new_pair(tmp_path, "cam1")
    file = tmp_path / "cam1.key"
    file.chmod(mode)
    os.chown(file, 12_345, -1)
    if fits:
        assert read_pair(file) == pair
    else:
        with pytest.raises(SettingsError, match="read by others"):
            read_pair(file)


@pytest.mark.parametrize("survivor", ["cam1.key", "cam1.pub"])
def test_a_key_is_never_overwritten_not_even_half(tmp_path: Path, survivor: str) -> None:
    new_pair(tmp_path, "cam1")
    kept = (tmp_path / survivor).read_bytes()
    for file in tmp_path.iterdir():
        if file.name != survivor:
            file.unlink()
    with pytest.raises(SettingsError, match="never overwritten"):
        new_pair(tmp_path, "cam1")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {survivor: kept}


@pytest.mark.parametrize("name", ["", "../cam1", "a/b", ".hidden", "a b", "x" * 65, "cam1\n"])
def test_a_name_that_is_none_for_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="no name"):
        new_pair(tmp_path / "keys", name)
    assert not (tmp_path / "keys").exists()


def test_a_folder_that_is_a_file_gets_no_keys(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("mine")
    with pytest.raises(SettingsError, match="no key can be written"):
        new_pair(tmp_path / "keys", "cam1")


@pytest.mark.parametrize("damage", ["no secret", "short secret", "not text", "empty", "pasted twice"])
def test_a_damaged_key_file_is_refused_and_not_repeated(tmp_path: Path, damage: str) -> None:
    secret = new_pair(tmp_path, "cam1").secret.get_secret_value()
    file = tmp_path / "cam1.key"
    text = file.read_text()
    file.write_bytes(
        {
            "no secret": text.replace("secret-key", "secret").encode(),
            "short secret": text.replace(secret, secret[:-1]).encode(),
            "not text": text.replace(secret, "").encode() + b"\xff\xfe",
            "empty": b"",
            "pasted twice": text.replace(secret, secret * 2).encode(),
        }[damage]
    )
    with pytest.raises(SettingsError, match="no key pair") as refusal:
        read_pair(file)
    assert secret[:-1] not in f"{refusal.value!r}"


@pytest.mark.parametrize("text", ["", "short", "~" * 40, "#" * 40, "0" * 41, "0" * 40 + "\n" + "0" * 40, "é" * 40])
def test_what_is_no_public_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "w1.pub").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"w1\.pub"):
        read_public(tmp_path / "w1.pub")


class _Settings(BaseModel):
    key: KeyFile | None = None
    server_key: PublicKey | None = None


SECRETS = ("k" * 40, "k" * 39 + "/", "/" + "k" * 39, "k//" + "k" * 37, "./" + "k" * 38, "k/./" + "k" * 36)
"""As a `Path` all but two of them are shorter than a key."""


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_pasted_where_its_file_belongs_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        _Settings.model_validate({"key": secret})
    assert secret not in refusal.value.errors()[0]["msg"]


def test_a_path_that_looks_like_a_key_is_a_path_if_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "k" * 40
    Path(name).touch()
    assert _Settings.model_validate({"key": name}).key == Path(name)


def test_a_list_is_the_public_keys_of_a_folder(tmp_path: Path) -> None:
    new_pair(tmp_path, "b")
    new_pair(tmp_path, "a")
    (tmp_path / "README").write_text("not a key")
    assert [file.name for file in listed(tmp_path)] == ["a.pub", "b.pub"]
    with pytest.raises(SettingsError, match="make the folder"):
        listed(tmp_path / "none")


def test_entries_say_what_each_key_is_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    cam1 = new_pair(tmp_path, "cam1")
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "w1.pub").write_text(new_pair(tmp_path / "elsewhere", "w1").public)
    (tmp_path / "viewers").mkdir()
    (tmp_path / "viewers" / "hmi.pub").write_text("damaged")
    (tmp_path / "cam2.pub").write_text(cam1.public)
    found = {(entry.name, entry.role): entry for entry in entries(tmp_path)}
    assert set(found) == {("cam1", "secret"), ("cam2", "public"), ("w1", "workers"), ("hmi", "viewers")}
    assert found["cam1", "secret"].public == cam1.public
    assert [key for key, entry in found.items() if entry.problem] == [("hmi", "viewers")]
