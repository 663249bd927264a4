"""Names of image channels, and the kind of image that they imply."""

import re
from collections.abc import Iterable, Sequence

from radapt.cohorts.cohort import Kind

_MRI = re.compile(r"^(mri?|t1.*|t2.*|pd.*|flair|adc|dwi|swi|bold|.*(_|-)t[12]w?)$")
_MRI_WORD = re.compile(
    r"(t1|t2|pd)(w|wi|c|ce|gd|gad|km|post|pre|fs|fse|tse|tirm|flair|star|map)*"
    r"|mri?|flair|tirm|stir|mprage|mp2rage|adc|dwi|dti|swi|bold|asl|dce|dsc|tof|vibe"
)
_OTHER_WORDS = ("ct", "cta", "cbct", "pet", "spect")
_CONTRAST_WORDS = {"pre", "post", "ce", "c", "gd", "gad", "km", "contrast", "enhanced", "plain", "native", "nativ"}
_XRAY = ("xray", "x-ray", "cr", "dx", "mg")


def slug(text: str) -> str:
    """Letters, digits and single '-' only, in lower case: `T1 post (GD)` → `t1-post-gd`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def names_sequence(name: str) -> bool:
    """Whether a word of the name of a folder or file names a sequence, or another kind of volume."""
    return any(map(_is_sequence, _words(name)))


def name_sequences(names: Sequence[str]) -> bool:
    """Whether names differ in the sequence that they name: `IXI-T1`, `IXI-PD`, but not `CT_ill`, `CT_well`."""
    words = [set(_words(name)) for name in names]
    shared = set.intersection(*words) if len(words) > 1 else set()
    own = [(of_name - shared) or of_name for of_name in words]
    return all(any(_is_sequence(word) or word in _CONTRAST_WORDS for word in of_name) for of_name in own)


def _is_sequence(word: str) -> bool:
    return bool(_MRI_WORD.fullmatch(word)) or word in _OTHER_WORDS


def _words(name: str) -> list[str]:
    return re.split(r"[\W_]+", name.casefold())


def kind_of(names: Iterable[str]) -> Kind | None:
    """The kind of image that the channels' names imply; None for none or several."""
    kinds: set[Kind] = set()
    for name in names:
        plain = name.lower().strip()
        if plain == "ct" or plain.startswith(("ct ", "ct-", "ct_", "cta", "cbct")):
            kinds.add("ct")
        elif plain in _XRAY:
            kinds.add("xray")
        elif _MRI.match(plain) or any(map(_MRI_WORD.fullmatch, _words(plain))):
            kinds.add("mri")
    return kinds.pop() if len(kinds) == 1 else None
