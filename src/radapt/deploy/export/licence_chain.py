"""The licence chain of a model: code, encoder weights and training data, and what the model inherits from them."""

from collections.abc import Mapping, Sequence
from typing import Any

from radapt.deploy.deployment import EncoderFacts, LicenceLink
from radapt.licences import UNKNOWN, terms_of

CODE = LicenceLink("code", "radapt", "Apache-2.0")


def licence_chain(encoder: EncoderFacts | None, cohort: str, source: Mapping[str, Any]) -> tuple[LicenceLink, ...]:
    """Every part that the model is made of. A licence that is not stated is `unknown`."""
    chain = [CODE]
    if encoder is not None:
        chain.append(LicenceLink("encoder", encoder.name, encoder.licence or UNKNOWN))
    name = str(source.get("title") or cohort)
    return (*chain, LicenceLink("training data", name, str(source.get("licence") or UNKNOWN)))


def inherited(chain: Sequence[LicenceLink]) -> tuple[str, ...]:
    """The terms that any link brings, strictest first; `unknown licence of …` where none is stated."""
    unknown = [f"unknown licence of {link.part}" for link in chain if link.licence == UNKNOWN]
    return (*terms_of([link.licence for link in chain]), *unknown)
