"""Early stopping: whether a training ends before its last epoch, for want of a better score on val."""


def patience_is_over(patience: int | None, epoch: int, best_epoch: int) -> bool:
    """Whether `patience` epochs have gone by since `best_epoch`, both counted from 1; never with None.

    `best_epoch` is 0 before a first score that is defined: there is nothing to compare with, and training goes on.
    """
    return patience is not None and best_epoch > 0 and epoch - best_epoch >= patience
