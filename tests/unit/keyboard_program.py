"""The program at the other end of a lent keyboard: says which keys it gets, or does something worse."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty


def say(text: str) -> None:
    os.write(1, f"{text}\r\n".encode())


def size(*_: object) -> None:
    columns, rows = os.get_terminal_size(1)
    say(f"size {columns}x{rows}.")


def keys() -> int:
    """Says each key that it gets, and the size whenever that changes; ends at a q."""
    tty.setraw(0, termios.TCSANOW)
    signal.signal(signal.SIGWINCH, size)
    size()
    say("READY secret")
    while b"q" not in (data := os.read(0, 65536)):
        say(f"got {data.hex()}.")
    return 7


def paste() -> int:
    """Reads a paste up to its q, and prints each byte ten times meanwhile."""
    import hashlib  # which takes as long to load as all else

    tty.setraw(0, termios.TCSANOW)
    say("READY")
    seen = b""
    while not seen.endswith(b"q"):
        data = os.read(0, 512)
        seen += data
        for byte in data:
            os.write(1, bytes([byte]) * 10)
    say(f"sum {hashlib.sha256(seen).hexdigest()}.")
    return 0


def deaf() -> int:
    """Reads nothing."""
    tty.setraw(0, termios.TCSANOW)
    say("READY")
    signal.pause()
    return 0


def cooked() -> int:
    """Dies of Ctrl-C, with the cursor hidden, the mouse reporting, and in red."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback of Python 3.13 has colours, and ends them
    os.write(1, b"\x1b[?25l\x1b[?1000;1006h\x1b[>1u\x1b[31m")
    say("READY")
    signal.pause()
    return 0


def closed() -> int:
    """Closes its terminal, and goes on until a file is there."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    say("READY")
    os.close(0), os.close(1), os.close(2)
    stage = os.path.expanduser("~/stage")
    os.mkfifo(stage)
    open(stage).close()
    return 5


def flood() -> int:
    """Prints and prints."""
    say("READY")
    while True:
        os.write(1, b"x" * 4096)


if __name__ == "__main__":
    sys.exit(
        {"keys": keys, "paste": paste, "deaf": deaf, "cooked": cooked, "closed": closed, "flood": flood}[sys.argv[1]]()
    )
