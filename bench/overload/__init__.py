"""What happens when more is asked of the system than it can do."""
