"""Time for predictions, which the other processes of a busy machine change little."""

import time

import torch

from inat.device import wait_for


def now(device: str) -> float:
    """Seconds of a clock: on a GPU wall time after all of its work, on a CPU processor time per thread of torch.

    Ten other processes make the wall time of a step ten times as long, and then it is over; a search that the step
    predicts lasts longer than that. Threads that wait for each other spin, so they count as if they worked.
    """
    if device != "cpu":
        wait_for(torch.device(device))
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()
