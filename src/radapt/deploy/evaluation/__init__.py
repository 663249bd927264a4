"""Whether what a model says about its certainty holds in another hospital, and making it hold with a few labels."""
