"""What the chart renders, and what Kubernetes says of it."""
