"""Tests of what a search learns from earlier studies."""
