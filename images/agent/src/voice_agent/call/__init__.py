"""One call, from the caller's arrival to the end."""
