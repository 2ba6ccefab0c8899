"""Run folders: read back as data from strangers, and the newest of a model."""
