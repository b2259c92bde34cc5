"""What happens to a fleet in production, done on purpose while calls are live."""
