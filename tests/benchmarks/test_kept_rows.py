from benchmarks.kept_rows import KeptRows


def test_results_are_there_after_an_interruption(tmp_path):
    path = tmp_path / "rows.jsonl"
    KeptRows(path).add({"side": "recipe", "seed": 1}, {"val": 0.5})
    with path.open("a") as file:
        file.write('{"case": {"side": "recipe", "se')  # of a process that was killed
    kept = KeptRows(path)
    assert kept.get({"seed": 1, "side": "recipe"}) == {"val": 0.5}
    assert kept.get({"side": "recipe", "seed": 2}) is None
    kept.add({"side": "recipe", "seed": 2}, {"val": 0.6})
    kept.add({"side": "recipe", "seed": 3}, {"val": 0.7})
    again = KeptRows(path)
    assert [again.get({"side": "recipe", "seed": seed})["val"] for seed in (1, 2, 3)] == [0.5, 0.6, 0.7]


def test_without_a_file_results_are_kept_in_memory():
    kept = KeptRows(None)
    kept.add({"seed": 1}, {"val": 0.5})
    assert kept.get({"seed": 1}) == {"val": 0.5}
