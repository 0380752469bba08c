"""PReLU's compiled kernel: built only on request, said plainly where that fails, and never used where it is wrong."""

import subprocess
import sys
import tempfile
import warnings

import pytest
import torch
import torch.nn.functional as F

import rectifier.functional as rf
from rectifier.activations import kernel
from rectifier.activations.prelu import prelu_backward, prelu_forward
from rectifier.errors import CannotCompile
from tests.activations.conftest import HAS_COMPILER, NO_COMPILER, compiled_once

needs_a_compiler = pytest.mark.skipif(not HAS_COMPILER, reason=NO_COMPILER)


@pytest.fixture
def anew(monkeypatch):
    """As in a fresh process in which nobody has asked for the kernel."""
    monkeypatch.delenv("RECTIFIER_COMPILE", raising=False)
    monkeypatch.setattr(kernel, "_functions", None)
    kernel._heed_environment.cache_clear()
    yield
    kernel._heed_environment.cache_clear()


def tensors(*shape, count=1, dtype=torch.float32):
    draws = torch.Generator().manual_seed(2)
    z, delta = (torch.randn(shape, generator=draws).to(dtype) for _ in range(2))
    return delta, z, torch.linspace(-0.5, 1.5, count).to(dtype)


def train(count=1 << 17):
    z = torch.randn(count, requires_grad=True)
    slopes = torch.tensor([0.25], requires_grad=True)
    rf.prelu(z, slopes).sum().backward()
    torch.testing.assert_close(z.grad, torch.where(z > 0, 1.0, 0.25))


def compiler(folder, program):
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{program}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("asked", [None, "0", ""])
def test_no_program_is_started_unasked(asked, anew, monkeypatch):
    def started(*arguments, **_):
        raise AssertionError(f"{arguments} was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    if asked is not None:
        monkeypatch.setenv("RECTIFIER_COMPILE", asked)
    train()
    assert kernel.functions() is None


@needs_a_compiler
def test_the_environment_asks_for_it_before_the_first_backward_pass(anew, monkeypatch):
    monkeypatch.setenv("RECTIFIER_COMPILE", "1")
    z = torch.randn(1 << 17, requires_grad=True)
    h = rf.prelu(z, torch.tensor([0.25]))
    assert kernel._functions is not None
    monkeypatch.setattr(subprocess, "Popen", None)
    h.sum().backward()
    train()


@needs_a_compiler
def test_the_function_asks_for_it_once(anew, monkeypatch):
    assert rf.compile_prelu() is None
    built = kernel.functions()
    assert built is not None
    monkeypatch.setattr(subprocess, "Popen", None)
    rf.compile_prelu()
    assert kernel.functions() is built


@needs_a_compiler
def test_nothing_stays_behind_but_the_functions(anew, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rf.compile_prelu()
    assert list(tmp_path.iterdir()) == []


@needs_a_compiler
def test_the_compiler_may_be_named_with_arguments(anew, monkeypatch):
    monkeypatch.setenv("CC", "env cc -DUNUSED='a b'")
    rf.compile_prelu()
    assert kernel.functions() is not None


FAILURES = {
    "exit 1": r"compiler failed \(1\): ",
    "echo 'kernel.c:7: no such thing' >&2; exit 3": r"compiler failed \(3\): kernel.c:7: no such thing",
    "exit 0": "cannot be loaded: ",
    "kill -9 $$": r"compiler failed \(-9\)",
    "exec sleep 60": "did not end within 0.5 seconds",
    'for last; do :; done; echo nonsense > "$last"': "cannot be loaded: ",
    'exec cc -Dcolumn_values_bfloat16=another_name "$@" -O0': "cannot be loaded: .*column_values_bfloat16",
    "sed -i 's/at > 0/at < 0/' kernel.c; exec cc \"$@\" -O0": "gives wrong results",
}


@pytest.mark.parametrize("program", FAILURES)
def test_a_compiler_that_does_not_work_is_told_and_disturbs_nothing(program, anew, monkeypatch, tmp_path):
    if "exec cc" in program and not HAS_COMPILER:
        pytest.skip(NO_COMPILER)
    monkeypatch.setenv("CC", compiler(tmp_path, program))
    monkeypatch.setattr(kernel, "_SECONDS", 0.5 if "sleep" in program else 60)
    with pytest.raises(CannotCompile, match=FAILURES[program]):
        rf.compile_prelu()
    train()
    monkeypatch.setenv("RECTIFIER_COMPILE", "1")
    kernel._heed_environment.cache_clear()
    with pytest.warns(RuntimeWarning, match=FAILURES[program]) as told:
        train()
    assert len(told) == 1
    assert str(told[0].message).endswith(" PReLU goes on without it.")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train()


@pytest.mark.parametrize(("name", "value"), [("CC", "no-such-compiler"), ("PATH", ""), ("CC", "'unbalanced")])
def test_a_missing_compiler_is_named(name, value, anew, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(CannotCompile, match=r"there is no C compiler .* Install gcc or clang, or name yours in CC\."):
        rf.compile_prelu()


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
    monkeypatch.setenv("CC", compiler(tmp_path, f"sed -i '{fault}' kernel.c; exec cc \"$@\" -O0"))
    with pytest.raises(CannotCompile, match="gives wrong results"):
        rf.compile_prelu()
    monkeypatch.setattr(kernel, "_right", lambda compiled: True)
    rf.compile_prelu()
    assert kernel.functions() is not None, "it is the check that keeps it out"


@needs_a_compiler
def test_a_call_holds_every_tensor_whose_memory_it_uses():
    """The compiled functions take tensors, not addresses: an address can outlive its tensor."""
    row_values = compiled_once()["row_values", torch.float32]
    z, slopes, h = torch.randn(7), torch.ones(1), torch.empty(7)
    row_values(z, slopes, h, 7, 7, 1, 1)
    assert torch.equal(h, z)
    with pytest.raises(Exception, match="data_ptr"):
        row_values(z.data_ptr(), slopes, h, 7, 7, 1, 1)


@pytest.mark.usefixtures("with_kernel")
@pytest.mark.parametrize(("shape", "count"), [((300_001,), 1), ((3_001, 101), 101), ((7, 11, 3_001), 11)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_bits_with_any_number_of_threads(shape, count, dtype):
    given, before = [], torch.get_num_threads()
    delta, z, slopes = tensors(*shape, count=count, dtype=dtype)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        given.append((prelu_forward(z, slopes), *prelu_backward(delta, z, slopes)))
    torch.set_num_threads(before)
    assert torch.equal(given[0][0], torch.prelu(z, slopes))
    for others in given[1:]:
        assert all(map(torch.equal, others, given[0]))


@pytest.mark.usefixtures("with_kernel")
def test_every_bfloat16_is_rounded_as_torch_rounds():
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    delta, z = bits.view(torch.bfloat16), torch.full((1 << 16,), -1.0, dtype=torch.bfloat16)
    for number in (0.3, -1.7, 1e-3, 1.0):
        slopes = torch.tensor([number], dtype=torch.bfloat16)
        d_z, _ = prelu_backward(delta, z, slopes)
        torch.testing.assert_close(d_z, delta * slopes, rtol=0, atol=0, equal_nan=True)
        # As an input, too: both signs, infinities and NaN.
        h, expected = prelu_forward(delta, slopes), torch.prelu(delta, slopes)
        torch.testing.assert_close(h, expected, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(h.signbit()[~h.isnan()], expected.signbit()[~h.isnan()])


DEFAULTS = """
import sys, torch
import rectifier.functional as rf
if sys.argv[1] == "with_kernel":
    rf.compile_prelu()
for count in (1, 5):
    z = torch.linspace(-1, 1, 100_005 * 5).view(-1, 5).requires_grad_()
    slopes = torch.full((count,), 0.5, requires_grad=True)
    h = rf.prelu(z, slopes)
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float64)
    h.sum().backward()
    torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    means = [round(sum.item() / len(z), 3) for sum in (z.grad.sum() / 5, slopes.grad.sum())]
    print(h.grad_fn.name(), slopes.grad.dtype, *means)
"""


def test_the_users_default_device_and_dtype_do_not_reach_inside(each_way):
    done = subprocess.run([sys.executable, "-c", DEFAULTS, each_way], capture_output=True, text=True, check=True)
    assert done.stdout == "_PReLUBackward torch.float32 0.75 -1.25\n" * 2


@pytest.mark.usefixtures("with_kernel")
@pytest.mark.parametrize("slopes", [(3,), (0,), (128,), (16, 16), (1, 256)], ids=str)
def test_slopes_that_do_not_fit_are_refused_as_by_torch(slopes):
    z = torch.randn(1_024, 256, requires_grad=True)
    with pytest.raises(RuntimeError) as theirs:
        F.prelu(z, torch.randn(slopes))
    with pytest.raises(RuntimeError) as ours:
        rf.prelu(z, torch.randn(slopes))
    assert str(theirs.value).split("\n")[0] in str(ours.value)
