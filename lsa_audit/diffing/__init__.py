"""What changed between two runs. Pure: no disk, no clock."""
