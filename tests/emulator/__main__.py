"""`python -m tests.emulator`: a Daytona of one's own, to try things by hand."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from .server import Server, run
from .settings import SHELLS, Settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.emulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="listen here; default: any free port")
    parser.add_argument("--latency", type=float, metavar="SECONDS", help="added to every request and every frame")
    parser.add_argument("--memory", type=int, metavar="GIB", help="the organisation's memory quota")
    parser.add_argument("--shell", choices=SHELLS, help="the sandboxes' shell; default: the first that is there")
    parser.add_argument("--root", metavar="DIR", help="where the sandboxes' folders are made; default: temporary")
    parser.add_argument("--key", help="the API key; default: a new one")
    parser.add_argument("--handle", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    settings, chosen = Settings(), {"latency": options.latency, "memory_quota": options.memory, "shell": options.shell}
    try:
        settings.change({name: value for name, value in chosen.items() if value is not None})
    except ValueError as error:
        parser.error(str(error))

    def ready(server: Server) -> None:
        world = server.world
        if options.handle:
            said = json.dumps({"port": server.port, "key": world.key, "root": str(world.root)})
        else:
            said = (
                f"export DAYTONA_API_URL={world.url}\nexport DAYTONA_API_KEY={world.key}\n\n"
                f"An emulated Daytona listens there; its sandboxes are in {world.root}. Ctrl-C ends it and them."
            )
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()

    asyncio.run(
        run(
            settings,
            port=options.port,
            root=options.root,
            key=options.key,
            follow_stdin=options.handle,
            ready=ready,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
