"""One module per library; a benchmark takes the libraries that have its program."""
