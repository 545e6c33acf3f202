"""Files of programs, by the name of what runs them; a benchmark takes those that have its own."""
