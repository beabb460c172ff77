"""One process of a run that shares a login, told line by line what to do; says what came of it, line by line.

`obtain HOW NAME [SECONDS]`, where HOW says what becomes of asking; `newest`, `offer NAME`, `remove`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from login_data import login

from pytest_kiro.errors import LoginError, message
from pytest_kiro.login.credentials import Credentials
from pytest_kiro.login.peer import PeerLogin
from pytest_kiro.sandbox.runs import folder_of


def say(text: object) -> None:
    sys.stdout.write(str(text).replace("\n", " / ") + "\n")
    sys.stdout.flush()


def refuse_to_bind(event: str, args: tuple[object, ...]) -> None:
    if event == "socket.bind":
        say(f"binding {args[1]}")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def asks(how: str, name: str) -> Callable[[], Credentials]:
    def ask() -> Credentials:
        say("asking")
        if how == "wait":
            sys.stdin.readline()
        elif how == "fail":
            raise LoginError(message("access denied", output="the reason", advice="run it again"))
        elif how == "nowhere":
            sys.addaudithook(refuse_to_bind)
        return login(name)

    return ask


def shown(found: Credentials | None) -> str:
    return "nothing" if found is None else f"{found.who} {found.version} {found.scripted} {' '.join(found.tokens)}"


def main() -> None:
    peer = PeerLogin(folder_of(sys.argv[1]))
    say("ready")
    for line in sys.stdin:
        command, *words = line.split()
        try:
            if command == "obtain":
                how, name, *timeout = words
                say(shown(peer.obtain(asks(how, name), timeout=float(timeout[0]) if timeout else 120)))
            elif command == "newest":
                say(shown(peer.newest()))
            elif command == "offer":
                peer.offer(login(words[0]))
                say("offered")
            else:
                {"remove": peer.remove}[command]()
                say("done")
        except Exception as error:
            say(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
