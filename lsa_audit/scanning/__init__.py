"""The pipeline of a scan, from what the user names to one record."""
