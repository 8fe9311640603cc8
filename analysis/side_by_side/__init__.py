"""What a comparison of studies is made of: data, costs, equal budgets, convergence, learning rates, test scores."""
