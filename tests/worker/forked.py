"""What a process runs that was forked to be a command."""

import os
import sys
from pathlib import Path


def command(
    arguments: tuple[str, ...], said: Path, complained: Path, cwd: Path | None, environ: dict[str, str]
) -> None:
    """`sightline` with these arguments; what it says on its two streams goes to two files."""
    for stream, path in ((1, said), (2, complained)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.clear()
    os.environ.update(environ)
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = ["sightline", *arguments]
    from worker.cli import main

    main()
