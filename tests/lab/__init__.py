"""All that a call needs and that is not the product: cluster, servers, Gemini simulator, callers."""

import os

# Before numpy is imported: its threads spin between the small products of the tone decoder, and cost a caller or the
# simulator four times the processor that the work itself does.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
