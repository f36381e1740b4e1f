"""What `mlp_train` does, as a plain PyTorch script: load the classic pickle, train, print, save.

Give it the path of mnist.pkl.gz.
"""

import gzip
import pickle
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
with gzip.open(sys.argv[1], "rb") as file:
    splits = pickle.load(file, encoding="latin-1")
train, valid, test = ([torch.tensor(array) for array in split] for split in splits)

torch.manual_seed(1)
model = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
loader = DataLoader(TensorDataset(*train), batch_size=50, shuffle=True)


@torch.no_grad()
def measure(x, y):
    preds = model(x)
    return F.cross_entropy(preds, y).item(), (preds.argmax(dim=1) == y).float().mean().item()


for epoch in range(6):
    total = 0.0
    for xb, yb in loader:
        loss = F.cross_entropy(model(xb), yb)
        total += loss.item() * len(yb)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    print(epoch + 1, total / len(train[0]), *measure(*valid))
print("test accuracy", measure(*test)[1])
torch.save(model.state_dict(), "model.pt")
