from toy_features import binary, every_task, features_of, multiclass, multilabel

__all__ = ["binary", "every_task", "features_of", "multiclass", "multilabel"]
