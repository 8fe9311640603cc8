"""What `from inat import ...` offers: searches, final models and predictions as calls."""
