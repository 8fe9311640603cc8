"""Networks, their weights, and the LightningModule that trains them."""
