"""Stands in for kiro-cli: same flags, engines, output, exit codes and session stores, and no model.

It runs in a sandbox, in place or as a zipapp, on any Python >= 3.9 with nothing installed. Its replies come
from the file that `KIRO_MOCK_CHAT_RESPONSE` names; its tool calls are really executed. What it promises about
the real program is listed in docs/fidelity.md.

app.py runs a command. turn.py is a turn on any engine; it writes to a session (store.py, store_v1.py, store_v3.py)
and to a screen (screen.py, screen_v1.py, stream.py), which protocols.py describes.

A turn must cost little more than starting Python. So what a plain turn does not need is imported in the function that
needs it, which saves half a millisecond a file, and nothing on its way loads argparse, signal, typing, uuid, secrets,
hashlib or subprocess. json is there, and with it re, which are a third of a turn.
"""
