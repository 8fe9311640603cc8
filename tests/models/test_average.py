import pytest
import torch
from torch import nn

from inat.models.average import WeightAverage, decay_at


def test_the_decay_grows_to_what_was_asked_for():
    assert [decay_at(count, 0.9) for count in (1, 8, 80, 81, 1000)] == pytest.approx([2 / 11, 0.5, 0.9, 0.9, 0.9])


def test_the_average_follows_parameters_and_buffers():
    net = nn.BatchNorm1d(1)
    average = WeightAverage(net, 0.3)
    expected = []
    for step, value in enumerate((1.0, 5.0, -2.0)):
        with torch.no_grad():
            net.weight.fill_(value)
            net.running_mean.fill_(10 * value)
        average.update_parameters(net)
        kept = decay_at(step, 0.3)
        expected.append(value if step == 0 else kept * expected[-1] + (1 - kept) * value)
    assert average.module.weight.item() == pytest.approx(expected[-1])
    assert average.module.running_mean.item() == pytest.approx(10 * expected[-1])
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_its_counter_stays_on_the_cpu_so_that_no_step_waits_for_a_device():
    average = WeightAverage(nn.Linear(2, 2), 0.9).to("meta")
    assert average.module.weight.is_meta
    assert average.n_averaged.device.type == "cpu"
    average.update_parameters(nn.Linear(2, 2, device="meta"))
    assert average.n_averaged == 1
