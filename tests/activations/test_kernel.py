"""The compiled backward of PReLU: built where that is possible, left out without a word where it is not."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest
import torch

from rectifier.activations import functional, kernel, slope

# Not by what it made: a kernel that fails its own check must not leave its tests out.
needs_a_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CC") or "cc") is None, reason="NO C COMPILER: its kernel is not tested"
)


@pytest.fixture
def anew():
    """Compile again, and forget the result afterwards."""
    kernel.compiled.cache_clear()
    yield
    kernel.compiled.cache_clear()


def tensors(*shape, count=1, dtype=torch.float32):
    draws = torch.Generator().manual_seed(2)
    z, delta = (torch.randn(shape, generator=draws).to(dtype) for _ in range(2))
    return delta, z, torch.linspace(-0.5, 1.5, count).to(dtype)


@needs_a_compiler
def test_nothing_stays_behind_but_the_function(anew, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert kernel.compiled() is not None
    assert list(tmp_path.iterdir()) == []


def compiler(folder, program):
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "program",
    ["exit 1", "exit 0", "kill -9 $$", "exec sleep 60", 'for last; do :; done; echo nonsense > "$last"'],
    ids=["fails", "writes nothing", "is killed", "never ends", "writes nonsense"],
)
def test_a_compiler_that_does_not_work_is_no_error(program, anew, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", compiler(tmp_path, program))
    monkeypatch.setattr(kernel, "_SECONDS", 0.5)
    assert kernel.compiled() is None
    delta, z, slopes = tensors(300, 7)
    assert kernel.values(z, slopes, channel=1) is None
    d_z, _ = slope.gradients(delta, z, slopes)
    assert torch.equal(d_z, torch.where(z > 0, delta, slopes * delta))


@pytest.mark.parametrize(("name", "value"), [("RECTIFIER_COMPILE", "0"), ("CC", "no-such-compiler"), ("PATH", "")])
def test_it_can_be_forbidden_and_missing(name, value, anew, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv(name, value)
    assert kernel.compiled() is None


@needs_a_compiler
def test_where_there_is_a_compiler_there_is_a_kernel():
    assert kernel.compiled() is not None


@needs_a_compiler
@pytest.mark.parametrize(
    "fault",
    [
        "s/h\\[i\\] = CHOOSE(at > 0/h[i] = CHOOSE(at < 0/",
        "s/dz\\[i\\] = CHOOSE(at > 0/dz[i] = CHOOSE(at < 0/",
        "s/which += at > 0/which += at < 0/",
        "s/\\[r % channels\\]/[0]/",
        "s/scratch\\[c\\] = READ(slopes\\[c\\])/scratch[c] = READ(slopes[0])/",
        "s/totals\\[c\\] += sums\\[r + c\\]/totals[c] += sums[r]/",
        "s/dslopes\\[first + c\\]/dslopes[c]/",
        "s/r += channels)/r += 2 * channels)/",
        "s/>> 16 : 0x7fc0u/>> 15 : 0x7fc0u/",
        "s/block : rows;/block : rows - 1;/",
    ],
)
def test_a_miscompiled_kernel_is_not_used(fault, anew, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", compiler(tmp_path, f"sed -i '{fault}' kernel.c; exec cc \"$@\""))
    assert kernel.compiled() is None
    monkeypatch.setattr(kernel, "_right", lambda functions: True)
    kernel.compiled.cache_clear()
    assert kernel.compiled() is not None, "it is the check that keeps it out"


@needs_a_compiler
def test_a_kernel_that_lacks_a_function_is_not_used(anew, monkeypatch, tmp_path):
    monkeypatch.setenv("CC", compiler(tmp_path, 'exec cc -Dcolumn_values_bfloat16=another_name "$@"'))
    assert kernel.compiled() is None


@needs_a_compiler
@pytest.mark.parametrize(("shape", "count"), [((300_001,), 1), ((3_001, 101), 101), ((7, 11, 3_001), 11)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_bits_with_any_number_of_threads(shape, count, dtype):
    given, before = [], torch.get_num_threads()
    delta, z, slopes = tensors(*shape, count=count, dtype=dtype)
    channel = 1 if count > 1 else 0
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        given.append((kernel.values(z, slopes, channel), *kernel.gradients(delta, z, slopes, channel)))
    torch.set_num_threads(before)
    assert torch.equal(given[0][0], torch.prelu(z, slopes))
    for others in given[1:]:
        assert all(map(torch.equal, others, given[0]))


@needs_a_compiler
def test_every_bfloat16_is_rounded_as_torch_rounds():
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    delta, z = bits.view(torch.bfloat16), torch.full((1 << 16,), -1.0, dtype=torch.bfloat16)
    for number in (0.3, -1.7, 1e-3, 1.0):
        slopes = torch.tensor([number], dtype=torch.bfloat16)
        d_z, _ = kernel.gradients(delta, z, slopes, channel=0)
        torch.testing.assert_close(d_z, delta * slopes, rtol=0, atol=0, equal_nan=True)
        # As an input, too: both signs, infinities and NaN.
        h, expected = kernel.values(delta, slopes, channel=0), torch.prelu(delta, slopes)
        torch.testing.assert_close(h, expected, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(h.signbit()[~h.isnan()], expected.signbit()[~h.isnan()])


@needs_a_compiler
def test_it_works_under_any_default_of_torch():
    """A default device or dtype of the user's must not reach the kernel's own tensors."""
    program = """
import torch
torch.set_default_device("meta")
torch.set_default_dtype(torch.float64)
from rectifier.activations import kernel
z = torch.linspace(-1, 1, 100, device="cpu", dtype=torch.float32)
d_z, sums = kernel.gradients(torch.ones_like(z), z, torch.full((1,), 0.5, device="cpu", dtype=torch.float32), 0)
print(d_z.sum().item(), round(sums.item(), 3))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "80"}
    )
    assert done.stdout == "75.0 -25.253\n"


@needs_a_compiler
@pytest.mark.parametrize("slopes", [(3,), (0,), (128,), (16, 16), (1, 256)], ids=str)
def test_slopes_that_do_not_fit_are_refused_as_by_torch(slopes):
    z = torch.randn(1_024, 256, requires_grad=True)
    with pytest.raises(RuntimeError) as theirs:
        torch.nn.functional.prelu(z, torch.randn(slopes))
    with pytest.raises(RuntimeError) as ours:
        functional.prelu(z, torch.randn(slopes))
    assert str(theirs.value).split("\n")[0] in str(ours.value)
