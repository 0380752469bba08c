"""A call belongs to the same site at every step, however the training is written."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..watching import Watching

STEPS, ROWS = 6, 9


def trained(model, call=None, steps=STEPS, data=None, parameters=None):
    """The process of a watch, and the losses."""
    optimizer = torch.optim.SGD(list(model.parameters()) if parameters is None else parameters, 0.05)
    generator = torch.Generator().manual_seed(1)
    losses = []
    with Watching(every=1) as watch:
        for _ in range(steps):
            x = torch.randn(ROWS, 4, generator=generator) if data is None else data(generator)
            optimizer.zero_grad()
            loss = (call or model)(x).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return watch.process, losses


def visits(process):
    found = dict.fromkeys((f"{site.model}.{site.ref.key}" for site in process.sites), 0)
    for snapshot in process.snapshots:
        for window in snapshot.windows:
            site = process.sites[window.site]
            found[f"{site.model}.{site.ref.key}"] += window.visits
    return found


def deltas(process, index):
    return np.concatenate([w.delta for s in process.snapshots for w in s.windows if w.site == index])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)

    def forward(self, x):
        return self.last(self.act(self.first(x)))


class Wrapper(nn.Module):
    """Made anew at each step, as solvers of differential equations do; applies something of its own."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.own = nn.Tanh()

    def forward(self, x):
        return F.elu(self.own(self.net(x)))


def test_a_root_that_is_made_anew_is_one_model():
    net = Net()

    def call(x):
        return Wrapper(net)(x)

    process, _ = trained(net, call=call)
    assert visits(process) == dict.fromkeys(("Wrapper.net.act", "Wrapper.own", "Wrapper.Wrapper"), STEPS * ROWS)
    assert process.snapshots[-1].distinct_samples == STEPS * ROWS


def test_the_same_class_with_other_parameters_is_another_model():
    nets = nn.ModuleList([Net(), Net()])
    process, _ = trained(nets, call=lambda x: Wrapper(nets[0])(x) + Wrapper(nets[1])(x))
    assert len(process.sites) == 6
    assert {site.model for site in process.sites} == {"Wrapper", "Wrapper#2"}


class Experts(nn.Module):
    """One activation for all, called for those that were hit, in the order of the data."""

    def __init__(self, fused):
        super().__init__()
        self.fused = fused
        self.up, self.bias = nn.Parameter(torch.randn(3, 5, 4)), nn.Parameter(torch.zeros(3, 5))
        self.layers = nn.ModuleList(nn.Linear(4, 5) for _ in range(3))
        self.act, self.last = nn.ReLU(), nn.Linear(5, 2)
        with torch.no_grad():
            self.bias[1], self.layers[1].bias[:] = -100, -100

    def forward(self, batch):
        x, plan = batch
        out = x.new_zeros(len(x), 5)
        for expert in plan:
            z = F.linear(x, self.up[expert], self.bias[expert]) if self.fused else self.layers[expert](x)
            out = out + self.act(z)
        return self.last(out)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), min_size=3, max_size=7), st.booleans()
)
def test_experts_that_share_an_activation_are_told_apart_in_any_order(plans, fused):
    model, order = Experts(fused), iter(plans)
    process, _ = trained(
        model, steps=len(plans), data=lambda generator: (torch.randn(ROWS, 4, generator=generator), next(order))
    )
    hit = [sum(expert in plan for plan in plans) * ROWS for expert in range(3)]
    assert sorted(visits(process).values()) == sorted(count for count in hit if count)
    assert len({site.ref.key for site in process.sites}) == len(process.sites)
    for index, site in enumerate(process.sites):
        expert = site.fed_part[0] if fused else int(site.fed_by.split(".")[1])
        fired = sum(w.fired.sum() for s in process.snapshots for w in s.windows if w.site == index)
        assert (fired == 0) == (expert == 1)


def test_weights_that_a_script_makes_anew_at_each_step_do_not_make_sites():
    weight, model = torch.randn(4, 5), nn.Sequential(nn.ReLU(), nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Watching(every=1) as watch:
        for _ in range(50):
            weight = weight.detach().requires_grad_()
            model(torch.randn(ROWS, 4) @ weight).square().mean().backward()
            weight = weight - 0.01 * weight.grad
            optimizer.step()
    (site,) = watch.process.sites
    assert (site.units, site.fed_by) == (5, None)
    assert list(visits(watch.process).values()) == [50 * ROWS]


def test_an_activation_in_plain_code_counts_once_it_is_seen_to_feed_a_layer():
    first, last = torch.randn(4, 5, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    act, hinge = nn.ReLU(), nn.ReLU()
    process, _ = trained(None, call=lambda x: hinge(1 - act(x @ first) @ last), parameters=[first, last])
    (site,) = process.sites
    assert (site.model, site.units, site.unit_axis.axis) == ("ReLU", 5, -1)
    assert list(visits(process).values()) == [(STEPS - 1) * ROWS]
    assert process.snapshots[-1].distinct_samples is None


def test_a_loss_with_an_activation_is_no_model():
    model, hinge = Net(), nn.ReLU()
    process, _ = trained(model, call=lambda x: hinge(1 - model(x)))
    assert [site.ref.key for site in process.sites] == ["act"]
    assert process.unseen == ()


def test_what_a_generator_gave_before_the_step_of_its_opponent_is_known_after_it():
    generator, opponent = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), nn.Sequential(nn.Linear(3, 1))
    ours = torch.optim.SGD(generator.parameters(), 0.01)
    theirs = torch.optim.SGD(opponent.parameters(), 0.01)
    with Watching(every=1) as watch:
        for _ in range(STEPS):
            fake = generator(torch.randn(ROWS, 4))
            theirs.zero_grad()
            opponent(fake.detach()).square().mean().backward()
            theirs.step()
            ours.zero_grad()
            opponent(fake).mean().backward()
            ours.step()
    assert [site.path for site in watch.process.sites] == ["1"]
    assert watch.process.unseen == ()


@pytest.mark.parametrize("layer", [nn.RNNCell, nn.GRUCell])
def test_a_recurrent_layer_is_not_known_to_be_linear(layer):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.last = layer(4, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.last(self.cell(x))

    def linear(model):
        return [output.linear for output in trained(model)[0].outputs]

    assert linear(Recurrent()) == [False]
    assert linear(nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.1), nn.Linear(5, 2))) == [True]
    assert linear(nn.Sequential(nn.Linear(4, 5), nn.Softmax(1), nn.Linear(5, 2))) == [False]


def test_units_are_found_where_a_derivative_by_the_inputs_came_before_the_training():
    """A test of a physics-informed network: no parameter asks for a gradient, the inputs do."""
    model = Net()
    with Watching(every=1) as watch:
        model.requires_grad_(False)
        x = torch.randn(ROWS, 4, requires_grad=True)
        torch.autograd.grad(model(x).sum(), x)
        model.requires_grad_(True)
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        for _ in range(STEPS):
            optimizer.zero_grad()
            x = torch.randn(ROWS, 4, requires_grad=True)
            torch.autograd.grad(model(x).sum(), x, create_graph=True)[0].square().mean().backward()
            optimizer.step()
    (site,) = watch.process.sites
    assert (site.path, site.units, site.fed_by) == ("act", 5, "first.weight")
    assert list(visits(watch.process).values()) == [STEPS * ROWS]


class Recomputed(Net):
    def forward(self, x):
        return self.last(checkpoint(self.inner, x, use_reentrant=True))

    def inner(self, x):
        return self.act(self.first(x))


def test_a_forward_whose_first_run_had_no_gradients_is_counted_when_backward_runs_it():
    process, _ = trained(Recomputed(), data=lambda generator: torch.randn(ROWS, 4).requires_grad_())
    assert list(visits(process).values()) == [STEPS * ROWS]
    assert process.sites[0].units == 5
    assert np.isfinite(deltas(process, 0)).all()


class Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, model, x, *weights):
        ctx.model = model
        ctx.save_for_backward(x)
        return model(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            output = ctx.model(x.detach())
            return (None, None, *torch.autograd.grad(output, tuple(ctx.model.parameters()), gradient))


def test_a_model_that_only_runs_with_gradients_inside_of_backward_is_observed():
    model = Net()
    process, _ = trained(model, call=lambda x: Adjoint.apply(model, x, *model.parameters()))
    assert visits(process) == {"Net.act": STEPS * ROWS}
    assert np.isfinite(deltas(process, 0)).all()


class Pooled(nn.Module):
    """A layer of tokens, the mean over them, a layer of sequences."""

    def __init__(self):
        super().__init__()
        self.token, self.act, self.sequence, self.last = nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 1)

    def forward(self, x):
        return self.last(self.act(self.sequence(self.act(self.token(x)).mean(1))))


def test_gradients_of_tokens_and_of_sequences_are_per_sequence():
    torch.manual_seed(0)
    model, kept = Pooled(), []

    def keep(module, args, output):
        args[0].register_hook(lambda gradient: kept.append(gradient.clone()))

    model.act.register_forward_hook(keep)
    process, _ = trained(model, data=lambda generator: torch.randn(ROWS, 11, 4, generator=generator))
    for index, gradients in enumerate((kept[1::2], kept[::2])):
        expected = [gradient.reshape(ROWS, -1).square().sum(1).mean().sqrt().item() for gradient in gradients]
        assert np.allclose(deltas(process, index), expected, rtol=1e-5)


@pytest.mark.parametrize("by_hand", ["maximum", "mask", "float mask", "where", "clamp"])
def test_activations_that_are_written_by_hand_are_seen_or_listed(by_hand):
    ways = {
        "maximum": lambda z: torch.maximum(z, torch.zeros(())),
        "mask": lambda z: z * (z > 0),
        "float mask": lambda z: (z > 0).float() * z,
        "where": lambda z: torch.where(z > 0, z, 0.0),
        "clamp": lambda z: z.clamp(min=0),
    }

    class ByHand(Net):
        def forward(self, x):
            return self.last(ways[by_hand](self.first(x)))

    process, _ = trained(ByHand())
    seen = [site.ref.key for site in process.sites]
    assert (seen, len(process.unseen)) in (([], 1), (["ByHand"], 0))


def test_masks_of_a_loss_are_not_listed():
    model = Net()
    process, _ = trained(model, call=lambda x: torch.where(x[:, :2] > 0, model(x), 0.0) * (x[:, :2] > 0))
    assert process.unseen == ()


@pytest.mark.parametrize("act", [nn.LeakyReLU(0.2), nn.ReLU(), nn.ELU(), nn.PReLU(), nn.SiLU(), nn.Hardtanh()])
def test_a_gradient_that_is_differentiated_holds_no_activations(act):
    net = nn.Sequential(nn.Linear(4, 5), act, nn.Linear(5, 5), act, nn.Linear(5, 1))

    def penalised(x):
        x.requires_grad_()
        output = net(x)
        (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
        return output + (gradient.norm(dim=1, keepdim=True) - 1).square()

    process, _ = trained(net, call=penalised)
    assert process.unseen == ()
    assert {site.units for site in process.sites} == {5}
    assert {site.fed_by for site in process.sites} == {"0.weight", "2.weight"}


# What a sample is --------------------------------------------------------------------------------------------------


class Graph(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 5), nn.Linear(5, 1)

    def forward(self, batch):
        x, edges = batch
        h = F.relu(self.first(x))
        return self.last(h.index_add(0, edges[1], h[edges[0]]))


@pytest.mark.parametrize("edges", [3, 300])
def test_rows_of_an_edge_index_are_no_samples(edges):
    def data(generator):
        return torch.randn(ROWS, 4, generator=generator), torch.randint(ROWS, (2, edges), generator=generator)

    process, _ = trained(Graph(), data=data)
    assert process.snapshots[-1].distinct_samples == STEPS * ROWS
    assert process.sites[0].units == 5


class SequenceFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0)

    def forward(self, tokens):
        return self.block(self.embed(tokens))


def test_positions_of_a_sequence_that_comes_first_are_no_samples():
    process, _ = trained(SequenceFirst(), data=lambda generator: torch.randint(50, (11, 3), generator=generator))
    assert process.snapshots[-1].distinct_samples is None


def test_a_sparse_input_has_no_distinct_number():
    class Sparse(Net):
        def forward(self, x):
            return self.last(self.act(torch.sparse.mm(x, self.first.weight.t())))

    process, _ = trained(Sparse(), data=lambda generator: torch.eye(4).to_sparse())
    assert process.snapshots[-1].distinct_samples is None
    assert process.sites[0].units == 5


def test_what_another_model_computed_is_no_sample():
    encoder, head = Net(), nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    both = nn.ModuleList([encoder, head])
    process, _ = trained(both, call=lambda x: head(encoder(x)))
    assert process.snapshots[-1].distinct_samples is None
    assert {site.model for site in process.sites} == {"Net", "Sequential"}


class Loaded(torch.utils.data.Dataset):
    """Rows of a tensor."""

    def __init__(self, rows):
        self.rows = torch.randn(rows, 4)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def through(loaders, passes=1, noise=0.0):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    with Watching(every=1) as watch:
        for _ in range(passes):
            for x in loaders[0]:
                model(x + noise * torch.randn_like(x)).square().mean().backward()
                optimizer.step()
        for loader in loaders[1:]:
            for x in loader:
                model.eval()(x)
    return watch.process.snapshots[-1].whole_pass


def loader(rows, **options):
    return torch.utils.data.DataLoader(Loaded(rows), batch_size=7, **options)


def test_a_pass_over_the_data_is_known_to_be_complete():
    assert through([loader(33, shuffle=True)])
    assert through([loader(33), loader(12)])
    assert through([loader(33, sampler=torch.utils.data.SubsetRandomSampler(range(11)))])


def test_what_is_no_complete_pass_is_not_called_one():
    assert not through([loader(33, drop_last=True)])
    assert not through([loader(33), loader(50)]), "which of the two is the training's is not known"
    assert not through([loader(33, sampler=torch.utils.data.RandomSampler(range(33), num_samples=12))])
    assert not through([loader(33)], passes=2, noise=1.0)
    assert not through([list(loader(33))])
