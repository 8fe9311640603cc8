"""Every private Optuna symbol that the project uses, and what the project relies on.

The list has one entry: ``optuna.samplers.TPESampler._compute_acquisition_func``, overridden by ``FixedSpaceTPE`` in
inat/tuning/sampling/samplers.py, and by ``PriorTPE`` and ``Densities`` in inat/tuning/sampling/prior.py. The tables of
Optuna's database, which inat/tuning/sampling/optuna_tables.py writes, are compared with those that Optuna itself
writes. A failure here names what a new Optuna version has moved.
"""

import ast
import inspect
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GPSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from inat.tuning.sampling.optuna_tables import TrialTables, known_tables
from inat.tuning.sampling.prior import Densities, PriorTPE
from inat.tuning.sampling.samplers import FixedSpaceGP, FixedSpaceTPE
from tests.paths import ROOT

PRIVATE = {"_compute_acquisition_func": ["self", "samples", "mpe_below", "mpe_above"]}
SPACE = {"kind": CategoricalDistribution(["a", "b", "c"]), "x": FloatDistribution(0.0, 1.0)}


@pytest.mark.parametrize("name", PRIVATE)
def test_the_overridden_method_has_the_signature_that_we_override(name):
    method = getattr(TPESampler, name, None)
    assert method is not None, f"Optuna {optuna.__version__} has no TPESampler.{name}; FixedSpaceTPE overrides it"
    parameters = list(inspect.signature(method).parameters)
    assert parameters == PRIVATE[name], (
        f"TPESampler.{name} of Optuna {optuna.__version__} takes {parameters}, FixedSpaceTPE expects {PRIVATE[name]}"
    )


def history() -> optuna.Study:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(12):
        trial = study.ask(SPACE)
        study.tell(trial, trial.params["x"])
    return study


def test_the_method_scores_all_candidates_of_a_suggestion_at_once_and_the_best_score_is_suggested():
    # We rely on this: TPE calls the method once per suggestion, with n_ei_candidates values in Optuna's internal
    # representation for each hyperparameter, takes one score per candidate, and suggests the one of the highest score.
    calls = []

    class LowestX(TPESampler):
        def _compute_acquisition_func(self, samples, mpe_below, mpe_above):
            calls.append(samples)
            scores = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
            assert scores.shape == (24,), f"TPESampler now scores {scores.shape} candidates at once, not 24"
            return np.where(samples["x"] == samples["x"].min(), 1.0, -np.inf)

    study = history()
    study.sampler = LowestX(seed=0, multivariate=True, n_startup_trials=10, n_ei_candidates=24)
    suggested = study.ask(SPACE).params
    assert len(calls) == 1, f"TPESampler scores the candidates of one suggestion in {len(calls)} calls"
    (samples,) = calls
    assert {name: len(values) for name, values in samples.items()} == {"kind": 24, "x": 24}
    best = int(samples["x"].argmin())
    expected = {name: one.to_external_repr(samples[name][best]) for name, one in SPACE.items()}
    assert suggested == expected, "TPESampler no longer suggests the candidate with the highest score"


def test_the_method_gets_two_densities_to_draw_from_and_may_replace_candidates():
    # We rely on this: both densities have ``log_pdf`` and ``sample`` in Optuna's internal representation, and TPE
    # suggests one of the candidates as they are after the call.
    densities = []

    class Replacing(TPESampler):
        def _compute_acquisition_func(self, samples, mpe_below, mpe_above):
            densities.extend((mpe_below, mpe_above))
            samples["x"][:1] = 0.123
            return np.where(samples["x"] == 0.123, 1.0, 0.0)

    study = history()
    study.sampler = Replacing(seed=0, multivariate=True, n_startup_trials=10)
    assert study.ask(SPACE).params["x"] == 0.123, "TPESampler does not suggest a candidate that was put in its place"
    below, above = densities
    candidates = {"kind": np.array([0.0, 0.0]), "x": np.array([0.9, 0.1])}
    scores = below.log_pdf(candidates) - above.log_pdf(candidates)
    assert scores[0] > scores[1], "the first density is no longer that of the better trials"
    drawn = below.sample(np.random.RandomState(0), 5)
    assert {name: len(values) for name, values in drawn.items()} == {"kind": 5, "x": 5}


@pytest.mark.parametrize(
    ("own", "parent", "overridden", "added"),
    [
        (FixedSpaceTPE, TPESampler, set(PRIVATE), {"_joint", "_was_tried", "_constants"}),
        (PriorTPE, TPESampler, set(PRIVATE), {"_joint", "_was_tried", "_constants", "_prior", "_weight", "_draws"}),
        (Densities, TPESampler, set(PRIVATE), set()),
        (FixedSpaceGP, GPSampler, set(), {"_joint"}),
    ],
)
def test_a_sampler_overrides_no_other_private_method_and_no_private_attribute(own, parent, overridden, added):
    methods = {name for cls in own.__mro__[: own.__mro__.index(parent)] for name, value in vars(cls).items()
               if inspect.isfunction(value) and hasattr(parent, name)}  # fmt: skip
    assert {name for name in methods if name.startswith("_") and not name.startswith("__")} == overridden
    options = {"space": SPACE} if issubclass(own, FixedSpaceTPE | FixedSpaceGP) else {}
    options |= {"was_tried": lambda params: False} if issubclass(own, FixedSpaceTPE) else {}
    options |= {"prior": None} if own is PriorTPE else {}
    new = vars(own(seed=0, **options)).keys() - vars(parent(seed=0)).keys()
    assert new == added, f"{parent.__name__} of Optuna {optuna.__version__} has its own attributes {added - new}"


TABLE_SPACE = {
    **SPACE,
    "n": IntDistribution(1, 9),
    "rate": FloatDistribution(1e-5, 1e-1, log=True),
    "step": FloatDistribution(0.0, 1.0, step=0.25),
    "flag": CategoricalDistribution([True, False, None]),
}
PARAMS = {"kind": "b", "x": 0.5, "n": 3, "rate": 1e-3, "step": 0.25, "flag": None}


def ended_trials() -> list[FrozenTrial]:
    common = {"params": PARAMS, "distributions": TABLE_SPACE}
    attributes = {"trial_id": "t0000", "epochs": 2, "best_val_acc": None, "name": "ä\"'"}
    return [
        create_trial(value=0.5, user_attrs=attributes, intermediate_values={1: 0.25, 2: 0.5}, **common),
        create_trial(value=math.inf, **common),
        create_trial(value=-math.inf, **common),
        create_trial(state=TrialState.FAIL, **common),
        create_trial(state=TrialState.PRUNED, value=0.1, intermediate_values={3: math.nan, 4: math.inf}, **common),
        create_trial(state=TrialState.PRUNED, params={}, distributions={}),
    ]


def contents(file: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}


def test_ended_trials_are_written_into_optunas_tables_as_optuna_writes_them(tmp_path):
    own, optunas = tmp_path / "own.db", tmp_path / "optunas.db"
    trials = ended_trials()
    for file in (own, optunas):
        study = optuna.create_study(storage=f"sqlite:///{file}", study_name="trials", direction="maximize")
        study.add_trial(trials[0])
        if file == optunas:
            study.add_trials(trials[1:])
    with closing(sqlite3.connect(own)) as database:
        assert known_tables(database), f"Optuna {optuna.__version__} has other tables; optuna_tables.py writes these"
        tables = TrialTables(database, "trials")
        for trial in trials[1:]:
            tables.add(trial)
        tables.commit()
        assert tables.user_attributes("trial_id") == {"t0000"}
    assert contents(own) == contents(optunas)
    loaded = optuna.load_study(storage=f"sqlite:///{own}", study_name="trials").trials
    assert [trial.params for trial in loaded] == [trial.params for trial in trials]


def test_a_database_with_another_column_is_left_to_optuna(tmp_path):
    optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}")
    with closing(sqlite3.connect(tmp_path / "study.db")) as database:
        assert known_tables(database)
        database.execute("ALTER TABLE trial_values ADD COLUMN unit TEXT")
        assert not known_tables(database)


def private_uses(source: str) -> set[str]:
    """Private modules of Optuna that ``source`` imports, and private attributes of other objects that it reads."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import)]
    modules = {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)} | {
        alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names
    }
    if not any(module.split(".")[0] == "optuna" or "search.optuna" in module for module in modules):
        return set()
    names = {f"{module}.{alias.name}" for module in modules if module.startswith("optuna")
             for node in imports if getattr(node, "module", None) == module for alias in node.names}  # fmt: skip
    found = {name for name in names | modules if name.startswith("optuna") and "._" in name}
    found |= {module for module in modules if module == "ray.tune.search.optuna"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            found |= set() if own else {node.attr}
    return found


def test_no_other_module_uses_private_names_of_optuna_or_of_rays_searcher_for_it():
    assert private_uses("import optuna\nstudy._storage") == {"_storage"}
    assert private_uses("from optuna.trial._trial import Trial") == {"optuna.trial._trial.Trial", "optuna.trial._trial"}
    assert private_uses("from ray.tune.search.optuna import OptunaSearch") == {"ray.tune.search.optuna"}
    paths = [*ROOT.glob("inat/**/*.py"), *ROOT.glob("analysis/**/*.py")]
    used = {path.relative_to(ROOT).as_posix(): names for path in paths if (names := private_uses(path.read_text()))}
    assert used.pop("inat/tuning/sampling/samplers.py") == set(PRIVATE)
    assert used.pop("inat/tuning/sampling/prior.py") == set(PRIVATE)
    # FrozenStudy._study_id; public: storage.get_study_id_from_name(name).
    assert used.pop("analysis/readers/optuna_files.py", {"_study_id"}) == {"_study_id"}
    assert not used
