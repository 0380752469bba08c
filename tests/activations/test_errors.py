"""What torch says, and what to do: every mistake that the family invites, with its text."""

import pytest
import torch
import torch.nn.functional as F

import rectifier.functional as rf
import rectifier.nn as rn
from rectifier.activations import paths

RANDOM = torch.randn(2, 3)


@pytest.fixture(params=["small", "own", "compiled"])
def _path(request):
    if request.param != "small":
        request.getfixturevalue("ours_at_every_size")
    if request.param == "compiled":
        request.getfixturevalue("with_kernel")


MISTAKES = [
    (lambda f: f.prelu(RANDOM, torch.randn(4)),
     "The slopes have shape (4,), the input (2, 3): use one slope for all, PReLU(), or one for each entry of "
     "dimension 1, PReLU(num_parameters=3)."),
    (lambda f: f.prelu(torch.randn(2, 7, 5), torch.randn(5)),
     "The last dimension fits: move it to dimension 1, prelu(x.movedim(-1, 1), a).movedim(1, -1)."),
    (lambda f: f.prelu(RANDOM, torch.randn(3, 1)), "The slopes have shape (3, 1), the input (2, 3)"),
    (lambda f: f.prelu(torch.randn(3), torch.randn(3)), "PReLU(num_parameters=1)."),
    (lambda f: f.prelu(RANDOM, torch.randn(3, device="meta")),
     "The input is on cpu, the slopes are on meta: write module.to('cpu')."),
    (lambda f: f.prelu(RANDOM.double(), torch.randn(3)),
     "The input is torch.float64, the slopes are torch.float32: write module.to(torch.float64)."),
    (lambda f: f.prelu(RANDOM, 0.25), "prelu takes its slopes as a tensor: write torch.tensor([0.25])."),
    (lambda f: f.prelu(torch.arange(3), torch.randn(1)),
     "prelu needs floating-point values; the input is torch.int64: write x.float() first."),
    (lambda f: f.leaky_relu(torch.arange(3)),
     "leaky_relu needs floating-point values; the input is torch.int64: write x.float() first."),
    (lambda f: f.elu(torch.arange(3)), "elu needs floating-point values; the input is torch.int64"),
    (lambda f: f.celu(torch.arange(3)), "celu needs floating-point values; the input is torch.int64"),
    (lambda f: f.selu(torch.arange(3)), "selu needs floating-point values; the input is torch.int64"),
    (lambda f: f.leaky_relu(torch.ones(3) > 0), "the input is torch.bool: write x.float() first."),
    (lambda f: f.leaky_relu(torch.ones(3) * 1j), "needs real values; the input is torch.complex64"),
    (lambda f: f.leaky_relu([1.0]), "leaky_relu takes a tensor first; this is a list: write torch.as_tensor(x)."),
    (lambda f: f.elu(None), "elu takes a tensor first; this is a NoneType"),
]  # fmt: skip


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize(("mistake", "advice"), MISTAKES)
def test_torchs_words_and_what_to_do(mistake, advice):
    with pytest.raises(Exception) as theirs:  # noqa: PT011 - its type is what is compared
        mistake(F)
    with pytest.raises(theirs.type) as ours:
        mistake(rf)
    assert type(ours.value) is theirs.type
    first, _, hint = str(ours.value).rpartition("\n")
    assert first == str(theirs.value), "torch's own words come first"
    assert advice in hint
    assert ours.value.__cause__ is None


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("call", [
    lambda f: f.leaky_relu(RANDOM.clone().requires_grad_(), "steep"),
    lambda f: f.elu(RANDOM.clone().requires_grad_(), None),
    lambda f: f.celu(RANDOM.clone().requires_grad_(), 0.0),
    lambda f: f.leaky_relu(RANDOM.clone().requires_grad_(), 0.1, True),
])  # fmt: skip
def test_without_advice_the_words_are_torchs_alone(call):
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        call(F)
    with pytest.raises(theirs.type) as ours:
        call(rf)
    assert str(ours.value) == str(theirs.value)


@pytest.mark.parametrize("count", [4, 0])
def test_a_module_with_the_wrong_number_of_slopes_says_the_right_one(count):
    with pytest.raises(RuntimeError, match=r"PReLU\(num_parameters=3\)\."):
        rn.PReLU(count)(RANDOM)


@pytest.mark.usefixtures("_path")
@pytest.mark.parametrize("alpha", [0.0, -0.5])
def test_in_place_where_backward_cannot_is_autograds_own_error(alpha):
    for name in ("leaky_relu", "elu"):
        errors = []
        for library in (F, rf):
            leaf = RANDOM.clone().requires_grad_()
            try:
                getattr(library, name)(leaf * 1, alpha, inplace=True).sum().backward()
                errors.append(None)
            except RuntimeError as error:
                errors.append(str(error))
        assert errors[0] == errors[1]
        assert (errors[0] is not None) == (alpha < 0)


def test_a_numpy_number_is_a_number():
    import numpy as np

    z = torch.randn(7, requires_grad=True)
    for slope in (np.float64(0.3), np.float32(0.25), 1, True):
        assert torch.equal(rf.leaky_relu(z, slope), F.leaky_relu(z, slope))


def test_a_missing_hint_would_be_noticed(monkeypatch):
    monkeypatch.setattr(paths, "_hint", lambda *_: "Something else.")
    with pytest.raises(AssertionError):
        test_torchs_words_and_what_to_do(*MISTAKES[0])
