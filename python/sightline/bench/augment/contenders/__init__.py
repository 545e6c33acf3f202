"""One module per library, which runs under the Python where that library is installed."""
