"""--time-budget alone: plan a search and a last training that end within the time, and run them."""
