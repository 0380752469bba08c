"""Agents: policy gradients, Q-learning, an actor and its critic, in worlds of a few lines."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical
from training import Training, explained, looped, minimised, mlp

from failures.rebuilt import Collection

REINFORCEMENT = Collection()


class _Bandit:
    """Four actions; the one that pays depends on what is seen."""

    def __init__(self) -> None:
        self.best = torch.randn(6, 4)
        self.seen = torch.randn(1000, 6)

    def reward(self, seen: Tensor, action: Tensor) -> Tensor:
        return ((seen @ self.best).argmax(1) == action).float()

    def score(self, policy: nn.Module) -> float:
        """What it earns in the mean."""
        best = (self.seen @ self.best).argmax(1, keepdim=True)
        return float(policy(self.seen).softmax(1).gather(1, best).mean())


def _reinforce(*, lr=1e-2, pay=1.0, entropy=0.0, cut=False, centred=True) -> Training:
    world, policy = _Bandit(), mlp(6, 32, 32, 4)
    value = mlp(6, 32, 1)

    def loss() -> Tensor:
        seen = torch.randn(64, 6)
        chosen = Categorical(logits=policy(seen))
        action = chosen.sample()
        reward = pay * world.reward(seen, action)
        guess = value(seen).squeeze(1)
        advantage = reward - (guess.detach() if centred else 0)
        log_prob = chosen.log_prob(action)
        if cut:
            log_prob = log_prob.detach()
        return -(log_prob * advantage).mean() + (guess - reward).square().mean() - entropy * chosen.entropy().mean()

    optimizer = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr)
    return minimised([policy, value], loss, optimizer, lambda: world.score(policy))


@REINFORCEMENT("REINFORCE with an entropy bonus of 5", "Williams & Peng 1991: the bonus outweighs every reward",
               "loss_term", steps=400)  # fmt: skip
def _entropy(mended: bool) -> Training:
    return _reinforce(entropy=0.01 if mended else 5.0)


@REINFORCEMENT("REINFORCE whose log-probability is detached", "only the value head gets a gradient", "graph_cut",
               steps=400)  # fmt: skip
def _detached(mended: bool) -> Training:
    return _reinforce(cut=not mended)


@REINFORCEMENT("REINFORCE at learning rate 1", "the policy decides for one action and never tries another",
               "learning_rate", steps=400)  # fmt: skip
def _fast(mended: bool) -> Training:
    return _reinforce(lr=1e-2 if mended else 1.0)


@REINFORCEMENT("PPO against its own log-probability", "Schulman et al. 2017: the ratio of a policy to itself is 1, and"
               " the old one was computed anew with the gradient", "graph_cut", "objective", "downstream_constant",
               steps=400)  # fmt: skip
def _ppo(mended: bool) -> Training:
    world, policy = _Bandit(), mlp(6, 32, 32, 4)

    def loss() -> Tensor:
        seen = torch.randn(64, 6)
        chosen = Categorical(logits=policy(seen))
        action = chosen.sample()
        new = chosen.log_prob(action)
        ratio = (new - (new.detach() if mended else Categorical(logits=policy(seen)).log_prob(action))).exp()
        advantage = world.reward(seen, action) - 0.25
        return -torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()

    return minimised([policy], loss, torch.optim.Adam(policy.parameters(), 1e-2), lambda: world.score(policy))


def _q_learning(*, unit: float = 1 / 6, index: bool = False, endless: bool = False) -> Training:
    """Twelve places in a row and a reward at the right end, worth a tenth less for each step to it.

    Args:
        unit: By which a place is multiplied for the network.
        index: Whether the index of the best action is taken for its value.
        endless: Whether the game goes on for ever, and later rewards are worth more.
    """
    places, network = torch.arange(11.0), mlp(1, 64, 64, 2)
    truth = 0.9 ** (10 - places)

    def values(place: Tensor) -> Tensor:
        return network(unit * (place.unsqueeze(1) - 6))

    def loss() -> Tensor:
        place, action = torch.randint(11, (64,)).float(), torch.randint(2, (64,))
        there = (place + 2 * action - 1).clamp(0, 11)
        reward = (there == 11).float()
        with torch.no_grad():
            later = values(there).amax(1)
            target = reward + (1.3 * later if endless else 0.9 * (1 - reward) * later)
        chosen = values(place).gather(1, action.unsqueeze(1)).squeeze(1)
        if index:
            chosen = values(place).argmax(1).float() + 0 * chosen
        return F.smooth_l1_loss(chosen, target)

    return minimised([network], loss, torch.optim.Adam(network.parameters(), 2e-3),
                     lambda: explained(values(places).amax(1), truth))  # fmt: skip


@REINFORCEMENT("Q-learning on places in the hundred thousands", "Mnih et al. 2015 scale their frames", "input_scale",
               "learning_rate", steps=900)  # fmt: skip
def _places(mended: bool) -> Training:
    return _q_learning(unit=1 / 6 if mended else 1e5)


@REINFORCEMENT("Q-learning by the index of the best action", "argmax where max was meant", "graph_cut", "objective",
               "downstream_constant", steps=900)  # fmt: skip
def _index(mended: bool) -> Training:
    return _q_learning(index=not mended)


@REINFORCEMENT("Q-learning with a discount above 1", "values that feed themselves", "objective", "learning_rate",
               "loss_shape", steps=900)  # fmt: skip
def _endless(mended: bool) -> Training:
    return _q_learning(endless=not mended)


def _actor_critic(mended: bool, wrong: str) -> Training:
    """The reward is how near an action in [−1, 1] is to what the state asks for."""
    actor, critic = nn.Sequential(mlp(4, 32, 32, 1), nn.Tanh()), mlp(5, 64, 64, 1)
    if wrong == "saturated" and not mended:
        with torch.no_grad():
            actor[0][-1].weight.mul_(300)
    of_actor = critic.parameters() if wrong == "optimizer" and not mended else actor.parameters()
    one, two = torch.optim.Adam(of_actor, 1e-3), torch.optim.Adam(critic.parameters(), 3e-3)
    seen = torch.randn(500, 4)

    def wanted(state: Tensor) -> Tensor:
        return (state[:, :1] + 0.5 * state[:, 1:2]).tanh() * 0.8

    def step() -> tuple[float, None]:
        state = torch.randn(64, 4)
        action = (actor(state).detach() + 0.3 * torch.randn(64, 1)).clamp(-1, 1)
        reward = -(action - wanted(state)).square()
        two.zero_grad()
        loss = F.mse_loss(critic(torch.cat([state, action], 1)), reward)
        loss.backward()
        two.step()
        one.zero_grad()
        (-critic(torch.cat([state, actor(state)], 1)).mean()).backward()
        one.step()
        return loss.item(), None

    def score() -> float:
        error = (actor(seen) - wanted(seen)).square().mean()
        return float(1 - error / wanted(seen).var())

    return looped([actor, critic], step, score)


@REINFORCEMENT("actor that begins at its bounds", "Hausknecht & Stone 2016: tanh actors saturate", "initial_weights",
               "downstream_saturation", steps=500)  # fmt: skip
def _actor_saturated(mended: bool) -> Training:
    return _actor_critic(mended, "saturated")


@REINFORCEMENT("actor whose optimizer has the critic's parameters", "a copied line", "not_in_optimizer", steps=500)
def _actor_optimizer(mended: bool) -> Training:
    return _actor_critic(mended, "optimizer")
