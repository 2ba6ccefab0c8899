"""The statistics behind every claim. NumPy and SciPy only."""
