"""What happens in the process of a trial."""
