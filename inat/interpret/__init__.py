"""Looking into trained classifiers: their predictions, their filters, and what in a photograph moves them."""
