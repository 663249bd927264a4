"""Per-case results of other tools, as rows beside those of a study."""
