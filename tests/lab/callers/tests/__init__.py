"""Tests of the callers."""
