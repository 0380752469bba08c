"""What holds for every test."""

import os
import signal

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. A second thread each would wait for the others, and spin while it waits: what takes
    # seconds would take minutes. Set before torch is imported, here and in the programs that tests start.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _heed_ctrl_c():
    """Programs that tests start shall heed Ctrl-C, also where the tests themselves run in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    """Begin with the longest tests, which ask for more than the usual time: no worker shall end alone with one."""
    usual = float(config.getini("timeout"))

    def is_ordinary(item):
        marker = item.get_closest_marker("timeout")
        return marker is None or marker.args[0] <= usual

    items.sort(key=is_ordinary)
