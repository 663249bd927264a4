"""Options shared by protocols that train a network: their types, and the default learning rates."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def _several(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


Rate = Annotated[float, Field(gt=0, le=10)]
Rates = Annotated[tuple[Rate, ...], BeforeValidator(_several), Field(min_length=1, max_length=20)]
"""A learning rate or several, the best of which is chosen on val; without val the first is taken."""

LayerNames = tuple[Annotated[str, Field(min_length=1)], ...] | None
"""Suffixes of layer names; None: the default of the backbone's family."""

FULL_RATES = (1e-5, 3e-5, 1e-4)
"""1e-5 is the radiology study's rate for fine-tuning (arXiv 2312.02366), 3e-5 and 1e-4 make up for
layer-wise decay. All methods have grids of one size, so that none is favoured."""

BIAS_RATES = (4e-4, 1e-4, 1e-3)
"""Within the range 1e-4 … 1e-3 of BitFit's authors (Ben Zaken et al. 2022)."""

LORA_RATES = (3e-4, 1e-4, 1e-3)
"""Around the 2e-4 … 5e-4 that LoRA's authors train RoBERTa with (Hu et al. 2022, appendix D)."""

IA3_RATES = (3e-3, 1e-3, 1e-2)
"""3e-3 is that of T-Few (Liu et al. 2022)."""
