"""A stand-in for kiro-cli: same flags, engines, output, exit codes and session stores, and no model.

It runs in a sandbox, in place or as a zipapp, on any Python >= 3.9 with nothing installed. Its replies come
from the file that `KIRO_MOCK_CHAT_RESPONSE` names; its tool calls are really executed. What it promises about
the real program is listed in docs/fidelity.md.

turn.py is a turn on whatever engine. It tells what happens to a session (store.py, store_v1.py, store_v3.py)
and to a screen (screen.py, screen_v1.py, stream.py).

A turn must cost little more than starting Python, so the modules on its way import nothing that is slow to
load: not json (which loads re), argparse, signal, typing, uuid or subprocess.
"""
