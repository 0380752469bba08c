"""What holds for every test."""

import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def _heed_ctrl_c():
    """Programs that tests start shall heed Ctrl-C, also where the tests themselves run in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
