"""The parts of a report, each drawn from the record once for every format."""
