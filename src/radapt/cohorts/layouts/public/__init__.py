"""Public data sets: a YAML file each in `sets/`, with its facts and how its files are named."""
