"""What a turn has printed: no secret is in it, wherever it is cut, and whatever stands within."""

from __future__ import annotations

import json

import pytest

from pytest_kiro.agent.printed import Printed
from pytest_kiro.secrecy.redaction import Secrets

KEY = "ksk_0123456789abcdef"
WRITTEN = "\x1b[31m".join(KEY)


def chunk(text: str) -> str:
    content = {"type": "text", "text": text}
    update = {"sessionUpdate": "agent_message_chunk", "content": content}
    return json.dumps({"type": "sessionUpdate", "data": {"sessionId": "s", "update": update}}) + "\n"


@pytest.mark.parametrize("size", [1, 5, 64, 10_000])
@pytest.mark.parametrize("written", [KEY, WRITTEN, "\x07".join(KEY), KEY.encode().hex(), KEY.encode().hex().upper()])
@pytest.mark.parametrize("stream", [False, True], ids=["text", "stream-json"])
def test_a_secret_is_in_nothing_that_was_printed(stream: bool, written: str, size: int) -> None:
    secrets = Secrets()
    secrets.add(KEY, "S")
    parts = [written[at : at + 7] for at in range(0, len(written), 7)]
    data = ("".join(map(chunk, ["a ", *parts, " b"])) if stream else f"a {written} b").encode()
    printed = Printed("v2", secrets, stream=stream)
    live = [printed.feed(data[at : at + size]) for at in range(0, len(data), size)]
    live.append(printed.feed(b"", final=True))
    assert "".join(live) == printed.text == "a [S] b"
    assert "".join(event.text for event in printed.events if event.kind == "text") == ("a [S] b" if stream else "")
    if not stream:
        assert printed.data == b"a [S] b"
