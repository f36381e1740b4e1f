"""Measure the step of other libraries that are installed, over PyTorch's idiom, and the compiled one beside them."""

import warnings

from compare import BS, LR, fast_epochs, idiom_epoch, interleaved, new_order, our_mlp, show, with_one_thread

from minibatch_mlp.data import load_mnist


def with_scikit_learn(train):
    from sklearn.neural_network import MLPClassifier

    settings = {"solver": "sgd", "alpha": 0, "batch_size": BS, "momentum": 0, "learning_rate_init": LR, "max_iter": 1}
    x, y = (part.numpy() for part in train)

    def epoch():
        with warnings.catch_warnings(action="ignore"):  # that one epoch is not enough
            MLPClassifier((50,), **settings).fit(x, y)

    return epoch


def with_jax(train):
    import jax
    import jax.numpy as jnp

    x, y = (jnp.asarray(part.numpy()) for part in train)

    def loss_of(weights, xb, yb):
        W1, b1, W2, b2 = weights
        scores = jax.nn.relu(xb @ W1.T + b1) @ W2.T + b2
        return -jnp.take_along_axis(jax.nn.log_softmax(scores), yb[:, None], axis=1).mean()

    @jax.jit
    def train_on(weights, order):
        def step(weights, rows):
            loss, gradients = jax.value_and_grad(loss_of)(weights, x[rows], y[rows])
            return [p - LR * g for p, g in zip(weights, gradients)], loss

        return jax.lax.scan(step, weights, order)

    def epoch():
        weights = [jnp.asarray(p.detach().numpy()) for p in our_mlp().parameters()]
        jax.block_until_ready(train_on(weights, jnp.asarray(new_order().numpy().reshape(-1, BS))))

    return epoch


@with_one_thread
def others_against_idiom(rounds):
    train = load_mnist().train
    programs = {}
    for name, make in (("scikit-learn's MLPClassifier", with_scikit_learn), ("JAX, jit over the whole epoch", with_jax)):
        try:
            programs[name] = make(train)
        except ImportError as error:
            print(f"not measured: {error}")
    return interleaved(lambda: idiom_epoch(train), programs | fast_epochs(train), rounds)


def main():
    show(others_against_idiom(7))


if __name__ == "__main__":
    main()
