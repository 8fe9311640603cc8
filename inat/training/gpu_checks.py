"""No search for GPUs in every training step of a machine that has none."""

import os

from inat.device import kind

VARIABLE = "PYTORCH_NVML_BASED_CUDA_CHECK"  # Lightning sets it to "1", so that processes may fork after the check


def skip_gpu_checks() -> None:
    """Let torch's optimizers know at once that there is no GPU, if there is none.

    Adam asks for one in each step. With VARIABLE, torch then looks for the library of the driver on the disk each time:
    52 us per step, a tenth of the training of a head on kept features. Without a GPU, the check that this saves could
    hinder no fork.

    >>> skip_gpu_checks()
    """
    if os.environ.get(VARIABLE) == "1" and kind() != "cuda":
        os.environ[VARIABLE] = "0"
