"""Tiny networks train faster on one thread: a second one only waits for the first."""

import pytest


@pytest.fixture(autouse=True)
def one_thread(request):
    # A test that needs no torch shall not load it.
    if "torch" not in request.module.__dict__:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
