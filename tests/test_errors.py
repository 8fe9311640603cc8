import pickle

from inat.errors import ConfigError


def test_a_config_error_carries_its_problems_and_prints_them_on_one_line():
    error = ConfigError("dropout is missing", "lr must be positive, got 0; did you mean 'learning_rate'?")
    assert error.problems == ("dropout is missing", "lr must be positive, got 0; did you mean 'learning_rate'?")
    assert str(error) == "dropout is missing; lr must be positive, got 0; did you mean 'learning_rate'?"
    assert ConfigError("one").problems == ("one",)


def test_a_config_error_keeps_its_problems_between_processes():
    error = pickle.loads(pickle.dumps(ConfigError("one", "two")))
    assert (error.problems, str(error)) == (("one", "two"), "one; two")
