"""Tests of inat.data.inspect."""
