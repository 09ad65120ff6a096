"""Steps of training on made-up batches, as the loop takes them."""

from vvi.engine import optim, train


def iterate(model, batches, recipe, epoch):
    """Train a model on some batches, and return the losses of each step.

    Args:
        model: in train mode.
        batches: one a step.
        recipe: optimisers and schedule.
        epoch: that decides which phases are active.
    """
    optimisers, engine = optim.build(model, recipe), train.fabric("cpu")
    rate = optim.rate(recipe, epoch, recipe.epochs)
    losses = []
    for batch in batches:
        losses.append(train.iteration(model, batch, optimisers, epoch, rate, engine))
    return losses
