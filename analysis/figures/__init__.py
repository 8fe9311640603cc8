"""Pictures of a study: for each a function that makes a frame, and one that draws the frame."""
