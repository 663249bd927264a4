"""Early stopping: training ends before its last epoch when the validation score stops improving."""


def patience_is_over(patience: int | None, epoch: int, best_epoch: int) -> bool:
    """Whether `patience` epochs have passed since `best_epoch` (epochs count from 1); never with None.

    `best_epoch` is 0 until a score is defined; training then continues.
    """
    return patience is not None and best_epoch > 0 and epoch - best_epoch >= patience
