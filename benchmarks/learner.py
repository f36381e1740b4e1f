"""Measure the Learner: an epoch with history and progress, over the bare loop with the same loader and optimiser."""

from contextlib import redirect_stdout
from io import StringIO

from compare import interleaved, our_mlp, show, with_one_thread

from minibatch_mlp.data import load_mnist
from minibatch_mlp.dataloader import DataLoader, Dataset
from minibatch_mlp.learner import DataLoaders, Learner, Progress
from minibatch_mlp.loss import cross_entropy
from minibatch_mlp.optim import SGD


@with_one_thread
def learner_against_bare_loop(rounds):
    "Half an epoch of the digits in batches of 50."
    train = Dataset(*(tensor[:25000] for tensor in load_mnist().train))

    def loader():
        return DataLoader(train, batch_size=50, shuffle=True)

    def bare():
        model = our_mlp()
        opt = SGD(model.parameters(), lr=0.1)
        for xb, yb in loader():
            loss = cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()

    def with_learner():
        with redirect_stdout(StringIO()):
            Learner(our_mlp(), DataLoaders(loader()), cbs=[Progress()]).fit(1, lr=0.1)

    return interleaved(bare, {"Learner with history and progress, over the bare loop": with_learner}, rounds)


def main():
    show(learner_against_bare_loop(21))


if __name__ == "__main__":
    main()
