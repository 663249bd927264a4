"""Keys that identify the input bytes of a segmentation protocol."""

from collections.abc import Iterable

from radapt.protocols.image_problem import ImageProblem


def image_keys(problem: ImageProblem, rows: Iterable[int]) -> list[str]:
    """The keys of all images and masks of the cases at `rows`, in order, as the recipe of the problem makes them."""
    cases = [problem.cohort.cases[int(row)] for row in rows]
    locations = [location for case in cases for location in (*case.images.values(), case.mask) if location is not None]
    return [problem.slices.key(location, problem.recipe) for location in locations]
