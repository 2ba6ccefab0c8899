"""Gates: a run, and where asked the one before it, in; a verdict on every limit out. No disk, clock or torch."""
