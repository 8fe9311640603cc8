"""The study directory: the journal, the tables made from it, and files that survive a crash."""
