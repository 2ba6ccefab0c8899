"""Fuzzing of the command line: inputs that are broken at random must end in an answer or in one line of error."""
