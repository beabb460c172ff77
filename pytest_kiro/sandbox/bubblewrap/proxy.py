"""Connects a sandbox without a network to the hosts it may reach.

A program of its own, with the standard library only. It listens on the sandbox's loopback: a child enters the sandbox's
namespace of networks, makes the socket there and hands it over; what is accepted from it is answered from out here. It
knows CONNECT only, so it reads nothing of what goes through it. Its argument is JSON: the namespace's descriptor, and
the hosts, as `name`, `*.name`, either with `:port` (else 443). It says its port in a line, and ends with its standard
input.

No name may lead where the list does not say: to this machine itself only an address that stands in the list, or
`localhost`, and a name with `*` to public addresses only.
"""

import asyncio
import ctypes
import fcntl
import ipaddress
import json
import os
import socket
import sys
from collections.abc import Sequence
from typing import NamedTuple

_NEWUSER, _NEWNET, _GET_USERNS = 0x10000000, 0x40000000, 0xB701
_HEAD, _PATIENCE = 65536, 30.0


class Refusal(Exception):
    """What is answered in place of a connection."""

    def __init__(self, status: str, why: str) -> None:
        super().__init__(why)
        self.status = status


class Host(NamedTuple):
    """One entry of the list."""

    name: str
    port: int

    def matches(self, name: str, port: int) -> bool:
        """Return whether that is a host that is meant."""
        if port != self.port:
            return False
        return name.endswith(self.name[1:]) if self.name.startswith("*.") else name == self.name

    def may_be(self, address: str) -> bool:
        """Return whether its name may lead to an address."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if self.name in ("localhost", address):
            return True
        if self.name.startswith("*."):
            return ip.is_global and not ip.is_multicast
        return not (ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast)


def hosts(entries: Sequence[str]) -> list[Host]:
    """Read the entries of a list.

    >>> hosts(["*.kiro.dev", "127.0.0.1:8080"])
    [Host(name='*.kiro.dev', port=443), Host(name='127.0.0.1', port=8080)]
    """
    parts = [entry.lower().partition(":") for entry in entries]
    return [Host(name, int(port or 443)) for name, _, port in parts]


async def addresses(known: Sequence[Host], target: str) -> tuple[list[str], int]:
    """Return where a target leads, as far as the list allows it."""
    name, _, digits = target.rpartition(":")
    name = name.strip("[]").lower().rstrip(".")
    port = int(digits) if digits.isdigit() else 0
    meant = [host for host in known if host.matches(name, port)]
    if not meant:
        raise Refusal("403 Forbidden", f"{target} is not among the hosts of --kiro-network")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refusal("502 Bad Gateway", f"{name} was not resolved: {error}") from error
    every = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    allowed = [address for address in every if any(host.may_be(address) for host in meant)]
    if not allowed:
        raise Refusal("403 Forbidden", f"{name} leads to {', '.join(every)}, where no name of --kiro-network may")
    return allowed, port


async def connect(known: Sequence[Host], method: str, target: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a target of the list."""
    trouble = ""
    if method != "CONNECT":
        raise Refusal("405 Method Not Allowed", "only https goes through here (CONNECT)")
    allowed, port = await addresses(known, target)
    for address in allowed:
        try:
            return await asyncio.wait_for(asyncio.open_connection(address, port), _PATIENCE)
        except (TimeoutError, OSError) as error:
            trouble = f"{address}: {error!r}"
    raise Refusal("502 Bad Gateway", f"{target} could not be reached ({trouble})")


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand on what comes, and its end."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def serve(known: Sequence[Host], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
        method, target, *_ = head.decode("latin-1").split(None, 2)
        there, back = await connect(known, method, target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))
        back.close()
    except Refusal as refusal:
        body = f"{refusal}\n".encode()
        about = f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close"
        writer.write(f"HTTP/1.1 {refusal.status}\r\n{about}\r\n\r\n".encode() + body)
    except (TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # what was sent is no request
    finally:
        writer.close()


def inside(net: int) -> socket.socket:
    """Return a socket that listens in a namespace of networks."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            users = fcntl.ioctl(net, _GET_USERNS)
            if libc.setns(users, _NEWUSER) == 0 and libc.setns(net, _NEWNET) == 0:
                made = socket.create_server(("127.0.0.1", 0))
                socket.send_fds(theirs, [b"x"], [made.fileno()])
        finally:
            os._exit(0)
    theirs.close()
    descriptors = socket.recv_fds(ours, 1, 1)[1]
    os.waitpid(pid, 0)
    ours.close()
    if not descriptors:
        raise OSError("the sandbox's network cannot be entered")
    return socket.socket(fileno=descriptors[0])


async def main(words: str) -> None:
    """Serve until standard input ends."""
    asked = json.loads(words)
    known, listening = hosts(asked["hosts"]), inside(asked["net"])
    os.close(asked["net"])
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(0, over.set)
    async with await asyncio.start_server(lambda *link: serve(known, *link), sock=listening, limit=_HEAD):
        os.write(1, b"%d\n" % listening.getsockname()[1])
        await over.wait()
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
