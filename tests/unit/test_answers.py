"""What kiro-cli would ask at a first start is answered in its settings; what somebody has set there stays."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pytest_kiro.kirocli import answers, commands
from pytest_kiro.sandbox.local import LocalSandbox

V3 = commands.ENGINES["v3"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, dict(answers.answers(V3))),
        ({}, dict(answers.answers(V3))),
        (
            {"chat.defaultModel": "é", "chat.enableAutoAgentUpgrade": True},
            {"chat.defaultModel": "é", "chat.enableAutoAgentUpgrade": True, "chat.agentEngine": "v3"},
        ),
    ],
    ids=["nothing", "an empty object", "somebody's own"],
)
def test_what_is_not_set_is_answered(sandbox: LocalSandbox, before: Any, after: dict[str, Any]) -> None:
    file = Path(sandbox.home, answers.FILE)
    if before is not None:
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(before))
    for _ in range(2):
        answers.answer(sandbox, V3)
        assert json.loads(file.read_text()) == after


@pytest.mark.parametrize("text", ["[1]", "{", "\x00"])
def test_what_is_no_settings_file_stays_and_is_warned_of(
    sandbox: LocalSandbox, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    file = Path(sandbox.home, answers.FILE)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with caplog.at_level(logging.WARNING):
        answers.answer(sandbox, V3)
    assert file.read_text() == text
    assert f"{file} is no JSON object" in caplog.text
