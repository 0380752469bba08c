"""What is kept for backward, and what a training step holds at its peak, counted in bytes."""

import gc
import json
import os
import subprocess
import sys
import weakref

import pytest
import torch
from torch import nn

import rectifier.nn as rn
from rectifier.activations import functional


@pytest.fixture(autouse=True)
def ours(ours_at_every_size, without_kernel):
    """Where ours begin is measured elsewhere; what is kept does not depend on it."""


def kept_bytes(act: nn.Module, rows: int, width: int, dtype: torch.dtype = torch.float32, depth: int = 3) -> int:
    """Distinct storages that autograd keeps for a stack of Linear and `act`, the parameters left out."""
    model = nn.Sequential(*(part for _ in range(depth) for part in (nn.Linear(width, width, dtype=dtype), act)))
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or another one would be given its address
        return tensor

    x = torch.randn(rows, width, dtype=dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(x).sum().backward()
    return sum(kept.values())


CASES = [("LeakyReLU", torch.float32), ("LeakyReLU", torch.bfloat16), ("ELU", torch.float32), ("CELU", torch.float32),
         ("SELU", torch.float32)]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype"), CASES)
@pytest.mark.parametrize("rows", [1_024, 4_097])
def test_a_stack_keeps_no_more_than_with_relu(name, dtype, rows):
    relu = kept_bytes(nn.ReLU(), rows, 64, dtype)
    ours = kept_bytes(getattr(rn, name)(), rows, 64, dtype)
    theirs = kept_bytes(getattr(nn, name)(), rows, 64, dtype)
    one = rows * 64 * dtype.itemsize
    assert relu == 4 * one  # the input, and three outputs
    assert ours == relu
    assert theirs == 6 * one  # the input, three inputs of activations, and two outputs


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_a_layer_more_keeps_half_of_what_it_does_in_torch(name, dtype):
    one = 1_024 * 64 * dtype.itemsize
    for library, wanted in ((rn, 1), (nn, 2)):
        act = getattr(library, name)()
        assert kept_bytes(act, 1_024, 64, dtype, depth=4) - kept_bytes(act, 1_024, 64, dtype) == wanted * one


@pytest.mark.parametrize(("name", "ours_from"), [("LeakyReLU", 1 << 21), ("ELU", 1 << 17), ("PReLU", 1 << 17)])
def test_from_the_size_on_it_is_ours(name, ours_from, monkeypatch):
    monkeypatch.undo()
    for count, own in ((ours_from - 1, False), (ours_from, True)):
        h = getattr(rn, name)()(torch.randn(count, requires_grad=True))
        assert type(h.grad_fn).__name__.startswith("_") == own


@pytest.mark.parametrize("name", ["LeakyReLU", "ELU", "PReLU"])
def test_the_graph_does_not_hold_itself(name):
    h = getattr(rn, name)()(torch.randn(77, requires_grad=True))
    alive = weakref.ref(h)
    gc.disable()
    try:
        del h
        assert alive() is None
    finally:
        gc.enable()


def test_half_precision_elu_keeps_its_input_because_its_output_is_too_coarse():
    assert kept_bytes(rn.ELU(), 4_096, 64, torch.bfloat16) == kept_bytes(nn.ELU(), 4_096, 64, torch.bfloat16)


def test_prelu_keeps_what_torchs_keeps():
    assert kept_bytes(rn.PReLU(), 4_096, 64) == kept_bytes(nn.PReLU(), 4_096, 64)


def test_a_function_that_keeps_its_input_would_be_caught():
    class Keeps(nn.Module):
        def forward(self, z):
            return functional.F.leaky_relu(z)

    assert kept_bytes(Keeps(), 4_096, 64) > kept_bytes(nn.ReLU(), 4_096, 64)


PEAKS = """
import json, torch
from torch import nn
import rectifier.nn as rn
from rectifier.activations import functional

functional.LEAKY_RELU_FROM = 0
torch.set_num_threads(1)


def peak():  # ru_maxrss would be that of the process that started this one
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])


def needed(step):
    step()  # the first time loads code
    open("/proc/self/clear_refs", "w").write("5")
    before = peak()
    step()
    return peak() - before


def train(act):
    model = nn.Sequential(*(part for _ in range(8) for part in (nn.Linear(64, 64), act)))
    x = torch.randn(1 << 14, 64)
    return lambda: model(x).sum().backward()


def backward(act):
    x = torch.randn(1 << 17, 64, requires_grad=True)
    h = act(x)
    delta = h.detach()
    return lambda: torch.autograd.grad(h, (x, act.weight), delta, retain_graph=True)


stacks = {f"{lib.__name__}.{name}": needed(train(getattr(lib, name)())) for lib, name in (
    (nn, "ReLU"), (rn, "LeakyReLU"), (nn, "LeakyReLU"), (rn, "ELU"), (nn, "ELU"))}
prelus = {lib.__name__: needed(backward(lib.PReLU())) for lib in (rn, nn)}
print(json.dumps([stacks, prelus]))
"""


@pytest.fixture(scope="module")
def peaks():
    """In KiB. Glibc cannot give a freed block of up to 32 MiB to the next request of that size and alignment, so that
    a process stays as large as if nothing had been freed; blocks of their own show what a step really holds.
    """
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", PEAKS], check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["LeakyReLU", "ELU"])
def test_the_process_peaks_no_higher_than_with_relu(peaks, name):
    """8 layers of 4 MiB: torch's form keeps 7 tensors more."""
    relu, ours, theirs = (peaks[0][act] for act in ("torch.nn.ReLU", f"rectifier.nn.{name}", f"torch.nn.{name}"))
    layer = 4 << 10
    assert relu > 6 * layer, "the step is seen at all"
    assert ours <= relu + 1.5 * layer
    assert theirs >= ours + 5 * layer


def test_the_backward_of_prelu_needs_no_memory_beside_its_result(peaks):
    one = 32 << 10
    assert peaks[1]["rectifier.nn"] <= 1.3 * one, "the gradient of the input, and little more"
    assert peaks[1]["torch.nn"] >= 1.8 * one, "torch's has that of the slopes too"
