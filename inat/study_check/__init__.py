"""What is wrong with a study directory, and how to mend it."""
