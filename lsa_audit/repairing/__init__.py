"""Scales neurons by what a scan found. Stands alone: nothing else needs it but hardening's files."""
