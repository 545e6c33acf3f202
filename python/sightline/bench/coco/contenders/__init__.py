"""Files of programs, by the name of what runs them; each runs in that contender's own Python."""
