"""Readers for each kind of study that ``analysis.study.load_study`` supports."""
