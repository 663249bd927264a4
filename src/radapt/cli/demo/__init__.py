"""The demonstration: its study, the command that runs it, and what it shows."""
