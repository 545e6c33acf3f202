"""Modules between a trunk and its heads."""
