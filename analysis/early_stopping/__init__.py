"""What early stopping saved, and which trials it may have stopped too early."""
