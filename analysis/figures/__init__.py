"""Figures of a study. For each figure one function computes a table, and another draws the table."""
