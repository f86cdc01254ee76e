"""SIGTERM and Ctrl-C stop a process once, at whatever moment and however often they come."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import threading
from penstock.cli.stopping import stop_on_signals
stop = threading.Event()
stop_on_signals(stop)
print("ready", flush=True)
while not stop.is_set():
    stop.wait(0.00001)
print("stopping", flush=True)
threading.Event().wait(0.3)
raise SystemExit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("times", [1, 200])
def test_signals_in_the_middle_of_a_wait_stop_it_once(number: signal.Signals, times: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for _ in range(times):
            process.send_signal(number)
        assert process.wait(20) == 7
        assert process.stdout.read() == "stopping\n"
    finally:
        process.kill()
        process.communicate()
