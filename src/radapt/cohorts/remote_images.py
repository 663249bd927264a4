"""The images of a cohort that lie on servers: all are asked for at once, before hours of work depend on them."""

from radapt.cohorts.cohort import Cohort
from radapt.errors import DataError, UsageError
from radapt.locations import Location
from radapt.remote.images import ask


def locations_of(cohort: Cohort, *, masks: bool = True) -> list[Location]:
    """Where the images are, and the masks."""
    found = [location for case in cohort for location in case.images.values()]
    return found + [case.mask for case in cohort if masks and case.mask is not None]


def refuse_offline(cohort: Cohort, offline: bool) -> None:
    """Raise UsageError if an image or mask is on a server, but the network must not be used."""
    remote = [location for location in locations_of(cohort) if location.url]
    if offline and remote:
        raise UsageError(
            f"{len(remote)} images or masks of cohort {cohort.name} are on servers, such as {remote[0]}, but radapt "
            "works offline. Leave out --offline, or copy the files to this machine."
        )


def refuse_unreachable(cohort: Cohort) -> None:
    """Raise DataError that lists the images and masks that their servers do not give."""
    if reasons := ask(locations_of(cohort)):
        raise DataError(
            f"Images or masks of cohort {cohort.name} cannot be read. Correct their addresses, or leave their rows out "
            f"of the table:\n  {reasons}"
        )
