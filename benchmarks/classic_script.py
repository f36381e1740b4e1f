"""The task as a plain PyTorch script on the classic pickle: the reference for memory. Give it the path of mnist.pkl.gz."""

import gzip
import pickle
import sys

import torch
import torch.nn.functional as F
from torch import nn

with gzip.open(sys.argv[1], "rb") as file:
    ((x_train, y_train), (x_valid, y_valid), _) = pickle.load(file, encoding="latin-1")
x_train, y_train, x_valid, y_valid = map(torch.tensor, (x_train, y_train, x_valid, y_valid))

torch.manual_seed(1)
model = nn.Sequential(nn.Linear(784, 50), nn.ReLU(), nn.Linear(50, 10))
print(F.cross_entropy(model(x_train), y_train).item())
for _ in range(3):
    for start in range(0, len(x_train), 50):
        loss = F.cross_entropy(model(x_train[start : start + 50]), y_train[start : start + 50])
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= p.grad * 0.5
            model.zero_grad()
    print(loss.item())
