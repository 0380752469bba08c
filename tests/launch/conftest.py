import contextlib
import os
import signal

import pytest

from tests.launch.started import Started


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(program, *arguments, **options):
        started.append(Started(program, tmp_path, *arguments, **options))
        return started[-1]

    yield begin
    for one in started:
        for pid in (one.script, one.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        one.process.communicate()
