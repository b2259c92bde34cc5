"""Where calls are kept outside of their pods: sealed snapshots and epochs."""
