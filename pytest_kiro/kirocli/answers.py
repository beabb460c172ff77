"""Answers in its settings what kiro-cli asks at a first start."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath

from pytest_kiro.errors import HIDE_FRAMES
from pytest_kiro.kirocli.commands import Engine
from pytest_kiro.sandbox.protocol import Sandbox

__tracebackhide__ = HIDE_FRAMES
#: Of V2 and V3, relative to HOME.
FILE = ".kiro/settings/cli.json"


def answers(engine: Engine) -> Mapping[str, object]:
    """Return the settings that answer for an engine.

    An engine that is saved as the default is not asked about (`Switch to 3.0 …`). Agent files of the 2.0 format are
    neither asked about (`Your agent configs are still in the 2.0 format`) nor, as since 2.37, rewritten in the
    workspace when V3 starts: that would be among the changes of a turn, and no agent's work.
    """
    return {"chat.agentEngine": engine.name, "chat.enableAutoAgentUpgrade": False}


def answer(sandbox: Sandbox, engine: Engine) -> None:
    """Write the answers into the sandbox's HOME, of which owners get copies; what is set there stays."""
    path, wanted = PurePosixPath(sandbox.home, FILE), dict(answers(engine))
    file, folder = shlex.quote(str(path)), shlex.quote(str(path.parent))
    text = shlex.quote(json.dumps(wanted, indent=2) + "\n")
    command = f"if [ -e {file} ]; then cat {file}; else mkdir -p {folder} && printf %s {text} >{file}; fi"
    present = sandbox.exec(command).check().output
    if not present:
        return
    try:
        known = json.loads(present)
    except ValueError:
        known = None
    if not isinstance(known, dict):
        what = "%s is no JSON object, so kiro-cli may ask what it asks at a first start"
        logging.getLogger(__name__).warning(what, path)
    elif missing := {name: value for name, value in wanted.items() if name not in known}:
        sandbox.write_file(str(path), (json.dumps({**known, **missing}, indent=2) + "\n").encode())
