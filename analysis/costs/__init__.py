"""What a search cost, and what it gave for it: results over time, results against the cost of a trial, the plan."""
