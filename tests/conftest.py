"""Puts this folder on the path, for `helpers`."""

import signal

# A background job of a script begins with SIGINT ignored, and so would every program that these tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
