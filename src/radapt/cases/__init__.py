"""Cases as a network sees them: the one reader of images and masks, which slices are seen, and what they show."""

from radapt.cases.channels import with_channels
from radapt.cases.reader import EVERY, CaseReader, Grid, Which

__all__ = ["EVERY", "CaseReader", "Grid", "Which", "with_channels"]
