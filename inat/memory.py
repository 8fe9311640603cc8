"""Telling a lack of memory from other failures by their words, whoever raised them and in whichever process."""

import re

# CUDA out of memory (torch); CUDA error: out of memory (driver); C10 Out of Memory; OutOfMemoryError (torch, Ray);
# MemoryError and numpy's _ArrayMemoryError; DefaultCPUAllocator: can't allocate memory, on Windows: not enough memory;
# CUBLAS_STATUS_ALLOC_FAILED and cuDNN's; killed due to the node running low on memory (Ray).
_LACKS_MEMORY = re.compile(
    r"out of memory|OutOfMemory|MemoryError|can't allocate memory|not enough memory|low on memory|STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)


def lacks_memory(failure: str) -> bool:
    """Whether a failure, given as ``Type: text``, says that a device, the computer or a process had too little."""
    return _LACKS_MEMORY.search(failure) is not None
