"""XML of bounded size and depth, without a document type: no entities, nothing outside the file."""

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

_MOST_BYTES = 32 << 20
_MOST_ELEMENTS = 1_000_000
_DEEPEST = 64


def read_xml(path: Path) -> Element:
    """The root element of a file, tags without their namespaces. Raises OSError or ValueError."""
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MB")
    return parse_xml(path.read_bytes())


def parse_xml(content: bytes) -> Element:
    """The root element of `content`, tags without their namespaces. Raises ValueError."""
    builder, parser = TreeBuilder(), ParserCreate(namespace_separator="}")
    depth = count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        if count > _MOST_ELEMENTS:
            raise ValueError(f"it has more than {_MOST_ELEMENTS:,} elements")
        builder.start(name.rpartition("}")[2], attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name.rpartition("}")[2])

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which may hold entities")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    parser.buffer_text = True
    try:
        parser.Parse(content, True)
    except (ExpatError, LookupError) as error:  # LookupError: an encoding that does not exist
        raise ValueError(str(error)) from None
    return builder.close()
