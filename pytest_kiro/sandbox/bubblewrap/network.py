"""Lets a sandbox reach listed hosts, by a proxy outside."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pytest_kiro.errors import SandboxError
from pytest_kiro.sandbox.bubblewrap.namespaces import Namespaces
from pytest_kiro.sandbox.environment import base_interpreter
from pytest_kiro.sandbox.ready import ready

_PROGRAM = Path(__file__).with_name("proxy.py")
_PATIENCE = 30.0


class Proxy:
    """The process that connects a sandbox to `hosts`, and `service`."""

    def __init__(self, spaces: Namespaces, hosts: Sequence[str], service: Sequence[str]) -> None:
        net = spaces.open("net")
        words = json.dumps({"net": net, "hosts": [*hosts, *service]})
        try:
            self._process = subprocess.Popen(
                [base_interpreter(), "-I", "-S", os.fspath(_PROGRAM), words],
                cwd="/",
                env=dict[str, str](),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[net],
                start_new_session=True,  # Ctrl-C is not for it
            )
        finally:
            os.close(net)
        said = self._first_line()
        if not said.isdigit():
            self.close()
            what = "the proxy for --kiro-network did not start"
            raise SandboxError(what, output=said, advice="use --kiro-network=on or off")
        url = f"http://127.0.0.1:{said}"
        names = ("http_proxy", "https_proxy")
        #: By which programs inside find it; Node's own fetch only with the last one.
        self.variables = {
            **{spelling: url for name in names for spelling in (name, name.upper())},
            **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
            "NODE_USE_ENV_PROXY": "1",
        }

    def _first_line(self) -> str:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        data = b""
        while b"\n" not in data and ready(_PATIENCE, reading=(descriptor,)) and (more := os.read(descriptor, 4096)):
            data += more
        return data.decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End it; idempotent."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.kill()
        self._process.wait()
