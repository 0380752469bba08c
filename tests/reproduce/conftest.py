"""Trainings of tiny networks: a second thread only waits for the first."""

import pytest


@pytest.fixture(autouse=True)
def one_thread(request):
    if "torch" not in request.module.__dict__:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
