"""An ordinary training script that knows nothing of Rectifier: a deep, narrow network on handwritten digits."""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--epochs", type=int, default=25)
options = parser.parse_args()

torch.manual_seed(options.seed)
images, labels = load_digits(return_X_y=True)
images, labels = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)
order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
train, test = order[:1400], order[1400:]

layers: list[nn.Module] = []
for inputs in [64] + 19 * [8]:
    linear = nn.Linear(inputs, 8)
    nn.init.kaiming_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    layers += [linear, nn.ReLU()]
model = nn.Sequential(*layers, nn.Linear(8, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

for epoch in range(1, options.epochs + 1):
    for batch in train[torch.randperm(len(train))].split(64):
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = (model(images[test]).argmax(1) == labels[test]).float().mean()
    print(f"epoch {epoch}: loss {loss:.3f}, test accuracy {accuracy:.3f}")
