"""Gates: a run, and where asked the one before it, in; a verdict on every limit out. Pure: no disk, no clock, no torch."""
