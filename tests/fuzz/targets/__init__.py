"""Every reader that is fuzzed."""

from fuzz.targets import archives, dicoms, pictures, stores, tables

TARGETS = {target.name: target for room in (pictures, dicoms, tables, archives, stores) for target in room.TARGETS}
