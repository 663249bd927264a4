"""Numbers, intervals, counts and durations as text."""

MINUS, DASH = "−", "—"


def defined(value: float | None) -> bool:
    """Whether `value` is neither None nor NaN."""
    return value is not None and value == value


def shown(value: float | None, digits: int = 3) -> str:
    """The number with a typographic minus, or a dash if it is undefined."""
    if value is None or value != value:
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """The two ends joined, or a dash if either is undefined."""
    if not (defined(low) and defined(high)):
        return DASH
    # An en dash between negative numbers reads as a second minus.
    separator = " to " if (low or 0) < 0 else "–"
    return f"{shown(low, digits)}{separator}{shown(high, digits)}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """'1 case', '2 cases'."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def duration(seconds: float | None) -> str:
    """`seconds` in its two largest units, or a dash if undefined."""
    if seconds is None or seconds != seconds:
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
