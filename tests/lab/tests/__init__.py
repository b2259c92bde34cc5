"""The lab's own modules, tested."""
