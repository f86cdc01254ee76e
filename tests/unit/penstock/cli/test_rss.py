import os
import sys

import pytest

from penstock.cli.rss import PeakMeter, own_peak_mb, resident_mb

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def test_a_process_holds_memory():
    held = resident_mb(os.getpid())
    assert held is not None
    assert 5 < held <= own_peak_mb() + 1


def test_a_process_that_is_gone_is_unknown():
    assert resident_mb(2**22 + 1) is None


def test_the_peak_is_the_sum_over_processes():
    with PeakMeter(lambda: [os.getpid(), os.getpid()], every_s=0.001) as meter:
        while meter.peak_mb is None:
            pass
    single = resident_mb(os.getpid())
    assert single is not None
    assert meter.peak_mb > 1.5 * single
