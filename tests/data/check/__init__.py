"""Tests of the check of data sets."""
