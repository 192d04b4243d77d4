"""Files of lines that are only ever added to, whatever a kill left at their end."""

import os
from pathlib import Path


def append_line(path: Path, line: str) -> None:
    """Add a line to a file and wait until it is on disk; file and folder are made if need be.

    Where a kill cut the last line short, the new one begins on a line of its own.

    Args:
        path: the file.
        line: without its end.

    Raises:
        OSError: when the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        whole = file.seek(0, os.SEEK_END) == 0
        if not whole:
            file.seek(-1, os.SEEK_END)
            whole = file.read(1) == b"\n"
        file.write(("" if whole else "\n").encode() + f"{line}\n".encode())
        file.flush()
        os.fsync(file.fileno())
