"""Files of programs, by the name of what runs them; a work takes those that have its program."""
