"""What stands for the user's own project in the README's Python block."""

import torch

torch.manual_seed(5)
inputs = torch.randn(77, 3)
targets = inputs.sum(1, keepdim=True)
model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
with torch.no_grad():
    # One unit that no input reaches.
    model[0].bias[2] = -1e3


def train(model: torch.nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(50):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
