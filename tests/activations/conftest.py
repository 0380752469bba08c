"""Rectifier's own backward passes at any size, with and without the compiled kernel."""

import functools
import os
import shutil

import pytest

from rectifier.activations import functional, kernel

# Not by what it made: a kernel that fails its own check must not leave its tests out.
HAS_COMPILER = shutil.which(os.environ.get("CC") or "cc") is not None
NO_COMPILER = "NO C COMPILER: PReLU's kernel is not tested"


@functools.cache
def compiled_once():
    return kernel._compiled()


@pytest.fixture
def ours_at_every_size(monkeypatch):
    """Our own backward passes from the first element on."""
    for name in ("LEAKY_RELU_FROM", "ELU_FROM", "PRELU_FROM"):
        monkeypatch.setattr(functional, name, 0)


@pytest.fixture
def without_kernel(monkeypatch):
    monkeypatch.setattr(kernel, "functions", lambda: None)


@pytest.fixture
def with_kernel(monkeypatch):
    if not HAS_COMPILER:
        pytest.skip(NO_COMPILER)
    monkeypatch.setattr(kernel, "_functions", compiled_once())


@pytest.fixture(params=["without_kernel", "with_kernel"])
def each_way(request):
    """The test runs twice: with PReLU in pieces, and with its kernel."""
    request.getfixturevalue(request.param)
    return request.param
