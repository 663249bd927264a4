"""Which parameters of an encoder are trained: all, those of some layers, or small adapters such as LoRA."""
