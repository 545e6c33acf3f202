"""What stands between a trunk and its heads."""
