"""One module per evaluator, which runs under the Python where that evaluator is installed."""
