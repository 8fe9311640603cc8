from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

from inat.tuning.ray_backend import worker_lines
from inat.tuning.ray_backend.worker_lines import HANDLER, EachOnce, print_each_once


def test_a_line_of_several_workers_is_printed_once_and_a_worker_may_repeat_itself():
    printed = []
    each_once = EachOnce(lambda batch: printed.extend((batch["pid"], line) for line in batch["lines"]))
    for pid, lines in [(1, ["warning", "epoch"]), (2, ["warning", "", "own"]), (1, ["epoch"]), (3, ["warning"])]:
        each_once({"pid": pid, "lines": lines, "is_err": False})
    assert printed == [(1, "warning"), (1, "epoch"), (2, ""), (2, "own"), (1, "epoch")]


def test_the_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(worker_lines, "REMEMBERED", 2)
    printed = []
    each_once = EachOnce(lambda batch: printed.extend(batch["lines"]))
    for pid in (1, 2):
        each_once({"pid": pid, "lines": ["a", "b", "c"]})
    assert printed == ["a", "b", "c", "a", "b", "c"]


def test_rays_printing_is_replaced_under_its_name():
    printed = []
    dispatcher.add_handler(HANDLER, lambda batch: printed.extend(batch["lines"]))
    try:
        print_each_once()
        for pid in (1, 2):
            dispatcher.emit({"pid": pid, "lines": ["warning"]})
    finally:
        dispatcher.remove_handler(HANDLER)
    dispatcher.emit({"pid": 3, "lines": ["other"]})
    assert printed == ["warning"]
