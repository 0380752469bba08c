"""The counters equal a brute-force count over stored activations, however the data are cut."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier import monitor
from rectifier.monitor.training.sites.counters import UnitCounters
from rectifier.monitor.training.sites.samples import DistinctSamples
from rectifier.monitor.training.steps.schedule import PLANNED, Sampling, Schedule
from rectifier.records import EARLY_STEPS, MOST_TOLD_APART
from rectifier.report.sentences.recorded import why_unseen

from ..watching import Watching

CPU = torch.device("cpu")


def brute_force(outputs, axis):
    """(samples, units) -> fired, from stored activations, one unit at a time."""
    rows = []
    for h in outputs:
        if not h.numel():
            continue
        units = h.movedim(axis, -1)
        units = units.reshape(len(h), -1, h.shape[axis]).amax(1) if axis == 1 else units.reshape(-1, h.shape[-1])
        rows.extend((row > 0).tolist() for row in units)
    return np.array(rows, bool)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 7), min_size=1, max_size=5),
    st.sampled_from([(5,), (5, 3), (5, 3, 2), (5, 2, 1, 3)]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    st.booleans(),
)
def test_counters_equal_brute_force_for_any_batches(seed, sizes, shape, dtype, signed):
    generator = torch.Generator().manual_seed(seed)
    axis = 1 if len(shape) > 1 else -1
    outputs = []
    for size in sizes:
        # Shifted per unit, so that some never fire, some always, some rarely.
        shift = torch.linspace(-4, 2, 5).reshape(5, *[1] * (len(shape) - 1))
        z = torch.randn(size, *shape, generator=generator, dtype=torch.float64) + shift
        outputs.append((F.leaky_relu(z, 0.1) if signed else F.relu(z)).to(dtype))
    counters = UnitCounters(5, CPU, signed=signed)
    for step, h in enumerate(outputs):
        counters.observe(h, axis, step)
    counts = counters.read()
    fired = brute_force(outputs, axis).reshape(-1, 5)
    assert counts.visits == sum(sizes)
    assert counts.fired.tolist() == fired.sum(0).tolist()
    silent = [len(fired) - 1 - max(np.flatnonzero(column), default=-1) for column in fired.T]
    # Counted by steps: a unit that fired on any sample of a batch is silent from the next batch on.
    by_step = np.array([fired_in.any(0) for fired_in in np.split(fired, np.cumsum(sizes)[:-1])])
    last = [int(max(np.flatnonzero(column), default=-1)) for column in by_step.T]
    assert counts.last_fired.tolist() == last
    assert counts.silent_visits.tolist() == [sum(sizes[step + 1 :]) for step in last]
    assert all(ours <= exact for ours, exact in zip(counts.silent_visits.tolist(), silent, strict=True))
    if sum(sizes):
        values = torch.cat([h.double().movedim(axis, -1).reshape(-1, 5) for h in outputs])
        assert np.allclose(counts.mean, values.mean(0), rtol=1e-5, atol=1e-6)
        assert np.allclose(counts.mean_abs, values.abs().mean(0), rtol=1e-5, atol=1e-6)
        assert np.allclose(counts.highest, values.amax(0))
        assert np.allclose(counts.lowest, values.amin(0))


def test_a_wrong_counter_would_be_caught():
    h = F.relu(torch.randn(7, 5))
    counters = UnitCounters(5, CPU)
    counters.observe(h, -1, 0)
    counters._fired[2] += 1
    assert counters.read().fired.tolist() != brute_force([h], -1).sum(0).tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.booleans()), min_size=1, max_size=9),
    st.sampled_from([(5,), (5, 3), (5, 2, 1, 3)]),
    st.integers(2, 5),
)
def test_light_sampling_tells_death_as_counting_everything_does(seed, calls, shape, room):
    """Any mixture of the two, several calls in one step, however soon light sampling is worked in."""
    generator = torch.Generator().manual_seed(seed)
    axis = 1 if len(shape) > 1 else -1
    mixed, all_counted = UnitCounters(5, CPU), UnitCounters(5, CPU)
    mixed._most_light = room
    step = visits = 0
    for size, lightly, same_step in calls:
        shift = torch.linspace(-4, 2, 5).reshape(5, *[1] * (len(shape) - 1))
        h = F.relu(torch.randn(size, *shape, generator=generator) + shift)
        (mixed.observe_lightly if lightly else mixed.observe)(h, axis, step)
        all_counted.observe(h, axis, step)
        visits += 0 if lightly else size
        step += not same_step
    ours, exact = mixed.read(), all_counted.read()
    assert ours.last_fired.tolist() == exact.last_fired.tolist()
    assert ours.silent_visits.tolist() == exact.silent_visits.tolist()
    assert (ours.seen, ours.visits, ours.bad_light_step) == (exact.visits, visits, None)
    assert (ours.fired <= exact.fired).all()


def test_a_lost_light_step_would_be_caught():
    counters = UnitCounters(5, CPU)
    counters.observe(torch.zeros(7, 5), -1, 0)
    counters.observe_lightly(torch.eye(5), -1, 3)
    counters._light.clear()
    assert counters.read().last_fired.tolist() != [3] * 5


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_at_a_light_step_is_told_and_is_no_silence(bad):
    counters = UnitCounters(3, CPU)
    counters.observe_lightly(torch.tensor([[0.0, 1.0, 0.0]]), -1, 4)
    counters.observe_lightly(torch.tensor([[0.0, 0.0, bad]]), -1, 6)
    counters.observe_lightly(torch.tensor([[0.0, 0.0, bad]]), -1, 8)
    counts = counters.read()
    assert counts.bad_light_step == 6
    assert counts.silent_visits.tolist() == [3, 2, 0]
    counters.begin_window()
    counters.observe_lightly(torch.zeros(2, 3), -1, 9)
    assert counters.read().bad_light_step is None


def test_threshold_is_the_value_at_zero():
    z = torch.randn(11, 3)
    counters = UnitCounters(3, CPU, threshold=0.5)
    counters.observe(torch.sigmoid(z), -1, 0)
    assert counters.read().fired.tolist() == (z > 0).sum(0).tolist()


def test_non_finite_values_are_told_and_not_counted_as_silence():
    h = torch.zeros(7, 3)
    h[2, 1] = torch.nan
    high, low, _ = UnitCounters(3, CPU).observe(h, -1, 0)
    assert torch.isnan(high)
    assert torch.isnan(low)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=6), min_size=1, max_size=8))
def test_distinct_samples_equal_a_set(batches):
    data = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(1))
    samples = DistinctSamples()
    last, new_at, visits = {}, 0, 0
    for step, batch in enumerate(batches):
        samples.see(("ignored", {"x": data[batch]}), step)
        if any(index not in last for index in batch):
            new_at = visits + len(batch)
        visits += len(batch)
        last.update(dict.fromkeys(batch, step))
        if step % 2:
            samples.update()
    samples.update()
    assert samples.count == len(last)
    assert samples.visits_since_new == visits - new_at
    for step in range(-1, len(batches)):
        assert samples.since(np.array([step])).tolist() == [sum(seen > step for seen in last.values())]


def test_four_points_seen_750_times_are_four_samples():
    samples = DistinctSamples()
    for step in range(750):
        samples.see((torch.tensor([[1.0], [2.0], [3.0], [4.0]])[torch.randperm(4)],), step)
    samples.update()
    assert samples.count == 4


def test_labels_that_come_first_do_not_hide_the_samples():
    samples = DistinctSamples()
    x, labels = torch.randn(11, 3), torch.zeros(11, dtype=torch.long)
    samples.see(({"labels": labels, "x": x, "mask": torch.ones(11, 3)}, 7), 0)
    samples.update()
    assert samples.count == 11


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.act, self.out = (
            nn.Linear(3, 5),
            nn.Linear(5, 5),
            nn.ReLU(),
            nn.Linear(5, 2),
        )

    def forward(self, x):
        return self.out(self.act(self.second(self.act(self.first(x)))))


def train(model, steps=31, lr=0.05, log=None):
    generator = torch.Generator().manual_seed(2)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    losses = []
    for _ in range(steps):
        x = torch.randn(7, 3, generator=generator)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if log:
            monitor.log("twice_the_loss", 2 * loss.item())
    return losses


def test_windows_of_a_whole_training_equal_brute_force_over_stored_activations():
    torch.manual_seed(0)
    model = Net()
    stored, gradients, weights = [], [], [model.first.weight.detach().clone()]

    def keep(module, args, output):
        stored.append(output.detach().clone())
        if args[0].requires_grad:
            args[0].register_hook(lambda gradient: gradients.append(gradient.clone()))

    model.act.register_forward_hook(keep)
    handle = torch.optim.Optimizer.register_step_post_hook
    with Watching(model, every=1) as watch:
        losses = train(model, log=True)
    process = watch.process
    assert [site.ref.key for site in process.sites] == ["act", "act (call 2)"]
    for index in (0, 1):
        windows = [w for snapshot in process.snapshots for w in snapshot.windows if w.site == index]
        fired = brute_force(stored[index::2], -1)
        assert sum(w.visits for w in windows) == len(fired) == 31 * 7
        assert sum(w.fired for w in windows).tolist() == fired.sum(0).tolist()
        assert np.concatenate([w.steps for w in windows]).tolist() == list(range(31))
        # Backward runs from the last call to the first.
        expected = [gradient.norm().item() / 7**0.5 for gradient in gradients[1 - index :: 2]]
        assert np.allclose(np.concatenate([w.delta for w in windows]), expected, rtol=1e-5)
    assert np.allclose(process.series("loss").values, losses)
    assert np.allclose(process.series("twice_the_loss").values, 2 * np.array(losses))
    assert process.series("twice_the_loss").steps.tolist() == list(range(31))
    assert handle is torch.optim.Optimizer.register_step_post_hook
    assert weights[0].shape == (5, 3)


@pytest.mark.parametrize(("count", "interval"), [(4, 1), (8, 2), (16, 16)])
def test_with_light_steps_in_between_deaths_are_as_exact_as_without(count, interval):
    torch.manual_seed(0)
    model = Net()
    stored = []
    model.act.register_forward_hook(lambda module, args, output: stored.append(output.detach().clone()))
    with Watching(model, every=1) as watch:
        watch.monitor.observation.schedule.interval, watch.monitor.observation.schedule.count_interval = interval, count
        train(model, 61, lr=0.3)
    process = watch.process
    for index in (0, 1):
        windows = [w for snapshot in process.snapshots for w in snapshot.windows if w.site == index]
        looked = range(0, 61, interval)
        assert np.concatenate([w.steps for w in windows]).tolist() == list(looked)
        assert sum(w.seen for w in windows) == len(looked) * 7
        assert sum(w.visits for w in windows) == len(range(0, 61, count)) * 7
        assert all(w.steps[0] % count == 0 and w.visits for w in windows), "a window begins with a count"
        outputs = stored[index::2]
        alive = np.array([[bool((outputs[step] > 0)[:, unit].any()) for unit in range(5)] for step in looked])
        last = [looked[max(np.flatnonzero(column))] if column.any() else -1 for column in alive.T]
        assert windows[-1].last_fired.tolist() == last
        assert windows[-1].silent_visits.tolist() == [7 * sum(step > at for step in looked) for at in last]
        known = np.concatenate([np.isfinite(w.delta) for w in windows])
        assert known.tolist() == [step % count == 0 for step in looked]
        assert np.concatenate([np.isfinite(w.update) for w in windows]).tolist() == known.tolist()
    cost = process.snapshots[-1].cost
    assert (cost.observed_steps, cost.counted_steps) == (len(range(0, 61, interval)), len(range(0, 61, count)))


def test_relative_updates_are_those_of_the_weight_that_feeds_the_site():
    torch.manual_seed(0)
    model = Net()
    seen = [model.first.weight.detach().clone()]
    optimizer_step = torch.optim.SGD.step
    with Watching(model, every=1) as watch:
        generator = torch.Generator().manual_seed(2)
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        for _ in range(9):
            optimizer.zero_grad()
            model(torch.randn(7, 3, generator=generator)).square().mean().backward()
            optimizer.step()
            seen.append(model.first.weight.detach().clone())
    assert torch.optim.SGD.step is optimizer_step
    expected = [((b - a).norm() / a.norm()).item() for a, b in itertools.pairwise(seen)]
    ours = np.concatenate([w.update for s in watch.process.snapshots for w in s.windows if w.site == 0])
    assert np.allclose(ours, expected, rtol=1e-4)


def test_evaluation_is_kept_apart():
    model = Net()
    with Watching(model, every=1) as watch:
        train(model, 5)
        model.eval()
        model(torch.randn(100, 3))
        model.train()
        with torch.no_grad():
            model(torch.randn(100, 3))
        train(model, 5)
    assert sum(w.visits for s in watch.process.snapshots for w in s.windows if w.site == 0) == 70


def test_only_the_watched_part_is_counted_and_named_from_there():
    outer = nn.ModuleDict({"left": Net(), "right": Net()})
    with Watching(outer["left"]) as watch:
        for side in outer.values():
            train(side, 5)
    assert {site.path for site in watch.process.sites} == {"act"}
    assert len(watch.process.sites) == 2


def test_a_gan_has_one_clock_and_both_networks():
    generator, critic = nn.Sequential(nn.Linear(2, 7), nn.ReLU(), nn.Linear(7, 3)), Net()
    first, second = (torch.optim.Adam(net.parameters(), 1e-3) for net in (critic, generator))
    with Watching(every=2) as watch:
        for _ in range(10):
            first.zero_grad()
            (critic(torch.randn(5, 3)).mean() - critic(generator(torch.randn(5, 2)).detach()).mean()).backward()
            first.step()
            second.zero_grad()
            critic(generator(torch.randn(5, 2))).mean().backward()
            second.step()
    process = watch.process
    assert {site.model for site in process.sites} == {"Net", "Sequential"}
    assert process.snapshots[-1].cost.steps == 10
    windows = [w for s in process.snapshots for w in s.windows]
    of_generator = [w for w in windows if process.sites[w.site].model == "Sequential"]
    assert of_generator
    delta = {step: value for w in of_generator for step, value in zip(w.steps, w.delta, strict=True)}
    assert np.isnan(delta.pop(0)), "before the critic's first step the generator had no gradient"
    assert set(delta) == {2, 4, 6, 8, 10}
    assert all(np.isfinite(value) and value > 0 for value in delta.values())


def test_a_recomputed_forward_is_counted_once():
    from torch.utils.checkpoint import checkpoint

    class Recomputed(Net):
        def forward(self, x):
            return self.out(checkpoint(lambda h: self.act(self.first(h)), x, use_reentrant=False))

    model = Recomputed()
    with Watching(model, every=1) as watch:
        train(model, 6)
    assert sum(w.visits for s in watch.process.snapshots for w in s.windows) == 6 * 7


def test_the_budget_lengthens_the_interval_and_says_so():
    model = Net()
    with Watching(model, budget=0.001) as watch:
        train(model, 1500)
    cost = watch.process.snapshots[-1].cost
    assert cost.interval > 1
    assert cost.interval & (cost.interval - 1) == 0
    assert cost.observed_steps < cost.steps == 1500
    steps = np.concatenate([w.steps for s in watch.process.snapshots for w in s.windows if w.site == 0])
    assert len(steps) == cost.observed_steps
    assert (np.diff(np.diff(steps)) >= 0).all(), "an interval may only grow"
    assert cost.count_interval >= cost.interval
    assert cost.counted_steps < cost.observed_steps


def simulated(budget, counting, light, step_seconds, steps):
    """A schedule whose observations cost what is said; the steps it looked at, and how."""
    schedule = Schedule(budget)
    samplings = []
    for step in range(steps):
        sampling = schedule.sampling_of(step)
        samplings.append(sampling)
        if sampling is not Sampling.SKIPPED:
            schedule.watching_seconds += counting if sampling is Sampling.FULL else light
            schedule.spent(sampling, step + 1, (step + 1) * step_seconds)
    return schedule, samplings


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-5, 1e-1), st.floats(0.02, 1.0), st.floats(1e-4, 1.0))
@example(0.0045, 0.5, 1.0)
@example(0.003, 0.5, 1.0)
def test_a_budget_is_kept_and_light_sampling_goes_on_where_full_thins_out(counting, ratio, step_seconds):
    schedule, samplings = simulated(0.01, counting, counting * ratio, step_seconds, 20_000)
    allowed = PLANNED * 0.01 * 20_000 * step_seconds + 0.05 * np.log2(20_001)
    # Overspent by no more than what the intervals had not yet met: twice, since they double, and at most by the
    # observations on the way to intervals longer than the training. Early steps are observed by their number, up to a
    # quarter of their time.
    early = min(64 * counting + 352 * counting * ratio, 2 * 0.25 * EARLY_STEPS * step_seconds + 20 * counting + 5)
    assert schedule.watching_seconds < 2 * allowed + (2 * np.log2(20_000) + 3) * counting + early
    counted = [step for step, sampling in enumerate(samplings) if sampling is Sampling.FULL]
    observed = [step for step, sampling in enumerate(samplings) if sampling is not Sampling.SKIPPED]
    assert set(counted) <= set(observed)
    for steps, interval in ((counted, schedule.count_interval), (observed, schedule.interval)):
        assert interval & (interval - 1) == 0
        assert (np.diff(np.diff(steps)) >= 0).all()
    assert schedule.count_interval >= schedule.interval
    # What costs nothing to speak of is done as often as in the beginning.
    if counting / step_seconds < PLANNED * 0.01:
        assert (schedule.interval, schedule.count_interval) == (4, 64)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-5, 1e-1), st.floats(0.02, 1.0), st.floats(0.1, 10.0))
def test_how_early_steps_are_observed_depends_on_no_clock(counting, ratio, load):
    """A counted step that takes no more than a fifth of a step's time, on machines of any speed."""
    step_seconds = 5 * counting
    samplings = [
        simulated(0.01, counting * by, counting * ratio * by, step_seconds * by, EARLY_STEPS)[1] for by in (1, load)
    ]
    assert samplings[0] == samplings[1]
    assert samplings[0][:16] == [Sampling.FULL] * 16
    assert samplings[0].count(Sampling.FULL) == 64
    assert all(
        sampling is not Sampling.SKIPPED for sampling in (*samplings[0][:64], *samplings[0][:256:2], *samplings[0][::4])
    )


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-6, 10.0), st.floats(0.02, 1.0), st.floats(1e-5, 1.0))
def test_without_a_budget_no_clock_decides_at_any_step(counting, ratio, step_seconds):
    """As in a comparison's trials: two arms, or the same arm on a busy machine, are observed at the same steps."""
    samplings = simulated(None, counting, counting * ratio, step_seconds, 20_000)[1]
    assert samplings == simulated(None, 0.0, 0.0, 1.0, 20_000)[1]
    assert samplings[:EARLY_STEPS] == simulated(0.01, 0.0, 0.0, 1.0, EARLY_STEPS)[1]
    observed = [step for step, sampling in enumerate(samplings) if sampling is not Sampling.SKIPPED]
    # 1 in 8 from step 1,024 on, 1 in 16 from 4,096, 1 in 32 from 16,384; a sixteenth of them in full.
    for first, last, interval in ((1024, 4096, 8), (4096, 16384, 16), (16384, 20_000, 32)):
        inside = [step for step in observed if first <= step < last]
        assert inside == list(range(first, last, interval))
        assert [s for s in inside if samplings[s] is Sampling.FULL] == list(range(first, last, 16 * interval))


def test_light_sampling_is_kept_where_only_full_is_too_dear():
    schedule, _ = simulated(0.01, 1e-2, 1e-5, 1e-2, 20_000)
    assert schedule.interval == 4
    assert schedule.count_interval > 64


@pytest.mark.parametrize("every", [1, 5])
def test_a_fixed_interval_is_kept(every):
    model = Net()
    with Watching(model, every=every) as watch:
        train(model, 23)
    steps = np.concatenate([w.steps for s in watch.process.snapshots for w in s.windows if w.site == 0])
    assert steps.tolist() == list(range(0, 23, every))


def test_what_was_missed_is_listed():
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * ctx.saved_tensors[0] * gradient

    class HandWritten(Net):
        def forward(self, x):
            h = self.act(self.first(x))
            return self.out(Square.apply(torch.where(self.second(h) > 0, h, 0)))

    bound_early = torch.relu

    class Bound(Net):
        def forward(self, x):
            return self.out(bound_early(self.act(self.first(x))))

    for build, expected in [(HandWritten, {"torch.where", "Square"}), (Bound, {"a ReLU"})]:
        model = build()
        with Watching(model) as watch:
            train(model, 3)
        assert {unseen.what for unseen in watch.process.unseen} == expected
        assert all(why_unseen(unseen) for unseen in watch.process.unseen)


def test_what_unobserved_steps_cost_does_not_drive_the_interval_away():
    """No interval can lower it: beyond the budget by itself, it leaves a quarter to the steps that are observed."""
    schedule = Schedule(0.01)
    for step in range(100_000):
        sampling = schedule.sampling_of(step)
        schedule.watching_seconds += {Sampling.SKIPPED: 2e-5, Sampling.LIGHT: 1e-4, Sampling.FULL: 1e-3}[sampling]
        if sampling is Sampling.SKIPPED:
            schedule.passed()
        else:
            schedule.spent(sampling, step + 1, (step + 1) * 1e-3)
    assert 1e-3 / schedule.count_interval + 1e-4 / schedule.interval > 0.01 * 1e-3 / 16
    assert 64 <= schedule.count_interval <= 4096


@pytest.mark.parametrize("act", [nn.ReLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU()])
def test_what_is_kept_on_the_device_is_at_most_64_bytes_a_unit(act):
    units = 100_003
    model = nn.Sequential(nn.Linear(1, units), act, nn.Linear(units, 1))
    with Watching(model) as watch:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for _ in range(3):
            model(torch.randn(5, 1)).sum().backward()
            optimizer.step()
        (site,) = watch.monitor.observation.models.sites
        site.counters.observe_lightly(torch.randn(5, units), -1, 3)
        held = [*vars(site.counters).values(), site.last_gradient, *(high for _, _, high in site.counters._light)]
    size = sum(tensor.untyped_storage().nbytes() for tensor in held if isinstance(tensor, torch.Tensor) and tensor.ndim)
    assert 40 * units < size <= 64 * units


def test_no_more_samples_are_told_apart_than_the_diagnosis_knows_of():
    samples = DistinctSamples()
    samples.see(torch.arange(MOST_TOLD_APART + 7.0)[:, None], 0)
    samples.update()
    assert samples.count == MOST_TOLD_APART
