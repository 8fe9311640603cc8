"""The study directory: the journal, the tables made from the journal, and files that survive a crash."""
