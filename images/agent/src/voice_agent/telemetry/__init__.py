"""What operators see of a pod and its calls: traces, logs and metrics."""
