"""The search: spaces, searcher, scheduler, trial function, progress and tracking, on Ray Tune."""
