"""What names the bytes that a segmentation protocol reads."""

from collections.abc import Iterable

from radapt.protocols.image_problem import ImageProblem


def image_keys(problem: ImageProblem, rows: Iterable[int]) -> list[str]:
    """The keys of all images and masks of the cases at `rows`, in order, as the recipe of the problem makes them."""
    cases = [problem.cohort.cases[int(row)] for row in rows]
    places = [place for case in cases for place in (*case.images.values(), case.mask) if place is not None]
    return [problem.slices.key(place, problem.recipe) for place in places]
