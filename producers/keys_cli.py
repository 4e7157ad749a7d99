"""`sightline keys`: makes key pairs, and says which there are."""

import json
from pathlib import Path
from typing import Annotated

import typer

HELP = """Keys for cameras, workers and viewers: CURVE encrypts what travels, and lets in only those who are listed.

A pair is two files. DIR/NAME.key is secret: it stays on the machine that uses it, readable by its owner alone.
DIR/NAME.pub is one line, to hand out.

A camera starts with --key DIR/cam1.key. Beside its key lie two folders: copy a worker's .pub into DIR/workers, a
viewer's into DIR/viewers. They are read at every handshake: no restart is needed.

A worker's TOML has key = "DIR/w1.key", and each of its cameras server_key = "the line in the camera's .pub".
"""
DEFAULT_DIR = Path(typer.get_app_dir("sightline")) / "keys"

Folder = Annotated[Path, typer.Option("--dir", help="Folder of the keys.")]


def key_path(text: str) -> Path:
    """The path of a key file, as an option names it. A key that is pasted there is refused, and not repeated."""
    from producers.keys import no_key

    try:
        no_key(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return Path(text)


def new(
    name: Annotated[str, typer.Argument(help="Whose key: a camera's, a worker's or a viewer's name.")],
    folder: Folder = DEFAULT_DIR,
) -> int:
    """Make a key pair: NAME.key, which stays here, and NAME.pub, to hand out. Nothing is ever overwritten."""
    from producers.keys import new_pair

    pair = new_pair(folder, name)
    print(f"secret, stays here   {folder / name}.key")
    print(f"public, to hand out  {folder / name}.pub")
    print(f"public key           {pair.public}")
    return 0


def list(  # noqa: A001 - the command's name
    folder: Folder = DEFAULT_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")] = False,
) -> int:
    """List the keys in a folder and on its two lists, their public halves alone.

    Exit code 1 if one can't be used: it is damaged, or others can read its secret.
    """
    from producers.keys import entries

    found = entries(folder)
    if as_json:
        print(json.dumps([entry.to_json() for entry in found]))
    else:
        for entry in found:
            print(f"{entry.public or '-':40}  {entry.role:7}  {entry.problem or entry.name}")
    return int(any(entry.problem for entry in found))
