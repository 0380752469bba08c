"""What the first layers are given, read from the graph of a loss."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier.hooks.graph.loss_graph import read_loss


class Scales(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer((x - 200.0) / 5.0)


def measured(model, x, **options):
    return read_loss(model(x).square().sum(), {}, inputs=True, **options).given


def image(*more):
    return [nn.Conv2d(3, 4, 3), *more, nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)]


@given(st.integers(2, 9), st.integers(1, 7), st.floats(-50, 50), st.floats(0.1, 9))
@settings(max_examples=30, deadline=None)
def test_what_a_plain_network_is_given_is_its_input(rows, features, mean, scale):
    x = torch.randn(rows, features) * scale + mean
    got = measured(nn.Sequential(nn.Linear(features, 3), nn.ReLU(), nn.Linear(3, 1)), x)
    wide = x.double()
    wanted = torch.stack([wide.square().mean(), (wide - wide.mean(0)).square().mean()])
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.BatchNorm1d(6), nn.Linear(6, 2)],
        [nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2)],
        [nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)],
        [nn.LayerNorm(6), nn.Linear(6, 2)],
        [Scales(nn.Linear(6, 2))],
    ],
)
def test_what_scales_inside_of_the_model_counts(layers):
    square, spread = measured(nn.Sequential(*layers), torch.randn(9, 6) * 5 + 200).tolist()
    assert 0.2 < square < 3
    assert square / spread - 1 < 1


@pytest.mark.parametrize(("norm", "square"), [([nn.BatchNorm2d(4)], 1.0), ([], 128.0**2)])
def test_of_images(norm, square):
    got = measured(nn.Sequential(*image(*norm)), torch.randn(5, 3, 8, 8) * 3 + 128)
    assert got[0].item() == pytest.approx(square, rel=0.01)


def test_a_batch_normalisation_in_eval_mode_normalises_nothing():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 2)).eval()
    assert measured(model, torch.randn(9, 6) + 200)[0] > 1e4


def test_a_layer_norm_behind_a_layer_does_not_take_an_offset_away():
    model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, 1))
    assert measured(model, torch.randn(9, 6) + 200)[0] > 1e4


def test_an_input_for_which_a_gradient_is_asked_is_an_input():
    x = (torch.randn(9, 6) + 200).requires_grad_()
    assert measured(nn.Linear(6, 2), x)[0] > 1e4


def test_a_recurrent_network():
    model = nn.LSTM(6, 5)
    got = read_loss(model(torch.randn(4, 3, 6) + 200)[0].sum(), {}, inputs=True).given
    assert got is None or got[0] > 1e4


def test_without_numbers_there_is_nothing_to_measure():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 1))
    assert measured(model, torch.randint(0, 10, (5, 3))) is None


def test_it_is_measured_only_on_request():
    assert read_loss(nn.Linear(3, 1)(torch.randn(4, 3)).sum(), {}).given is None
