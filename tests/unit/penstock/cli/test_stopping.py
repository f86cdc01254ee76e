"""SIGTERM and Ctrl-C stop a process once, at whatever moment and however often they come."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from penstock.cli.stopping import stopped_by_signals

PROGRAM = """
import sys, threading, time
from penstock.cli.stopping import stopped_by_signals
stop = threading.Event()
with stopped_by_signals(stop):
    print("ready", flush=True)
    while not stop.is_set():
        stop.wait(0.00001)
print("stopping", flush=True)
time.sleep(0.3)
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
        assert process.stdout.readline() == "stopping\n"
        while process.poll() is None:
            process.send_signal(number)
        assert process.returncode == 7
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.communicate()


def test_after_an_error_the_signals_are_what_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), stopped_by_signals(threading.Event()):
        raise KeyError(signal.getsignal(signal.SIGTERM) is before)
    assert signal.getsignal(signal.SIGTERM) is before
