import os
import signal
from typing import Any

import pytest

from analysis.study import load_study


def objective(params: dict[str, Any]) -> None:
    from ray import tune

    for epoch in range(1, 5):
        if params["kind"] == "raises" and epoch == 3:
            raise RuntimeError("boom")
        if params["kind"] == "killed" and epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        tune.report({"val_acc": params["opt"]["lr"] * epoch, "deep": {"loss": float("inf") if epoch == 1 else 1.0}})
        if params["kind"] == "patience" and epoch == 2:
            return


@pytest.mark.long
@pytest.mark.slow
def test_an_experiment_written_by_ray_tune(tmp_path):
    import ray
    from ray import tune

    kinds = ["whole", "raises", "killed", "patience", "weak"]
    space = {"kind": tune.grid_search(kinds), "opt": {"lr": 0.1}}

    def stop(trial_id: str, result: dict[str, Any]) -> bool:
        return result["config"]["kind"] == "weak" and result["training_iteration"] == 2

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, address="local")
    try:
        run = tune.RunConfig(storage_path=str(tmp_path), name="real", stop=stop, verbose=0)
        tune.Tuner(objective, param_space=space, run_config=run).fit()
    finally:
        ray.shutdown()
    study = load_study(tmp_path / "real")
    trials = study.trials.set_index("kind")
    assert study.read_errors.empty
    assert study.parameters == ["kind"]
    assert trials["state"].loc[kinds].tolist() == ["completed", "failed", "failed", "completed", "stopped"]
    assert trials["epochs"].loc[["whole", "raises", "patience", "weak"]].tolist() == [4, 2, 2, 2]
    assert trials["best_val_acc"]["whole"] == pytest.approx(0.4)
    assert trials["error"]["raises"] == "RuntimeError: boom"
    assert trials["error"]["killed"].startswith("The actor died")
    assert trials["opt/lr"].eq(0.1).all()
    assert trials["created"].notna().all()
    assert len(study.history) == trials["epochs"].sum()
