"""All that a call needs and that is not the product: cluster, servers, Gemini simulator, callers."""
