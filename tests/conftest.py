"""What holds for every test."""

import os
import signal

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. A second thread each would wait for the others, and spin while it waits: what takes
    # seconds would take minutes. Set before torch is imported, here and in the programs that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _heed_signals():
    """Programs that tests start shall heed what a terminal sends.

    A shell starts its background jobs, and nohup what it runs, with some of these ignored; children inherit that.
    """
    for number, usual in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_collection_modifyitems(config, items):
    """Begin with the longest tests, which ask for more than the usual time: no worker shall end alone with one."""
    usual = float(config.getini("timeout"))

    def is_ordinary(item):
        marker = item.get_closest_marker("timeout")
        return marker is None or marker.args[0] <= usual

    items.sort(key=is_ordinary)
