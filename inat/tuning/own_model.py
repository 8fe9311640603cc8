"""The file with the user's network: what study.json records of it, and the study's copy, from which trials build it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inat.config.backbones import FREEZE_PARTIAL
from inat.config.finetune import DEFAULT_K_LAYERS, FINETUNE
from inat.config.own_model import MODEL, MODEL_SHA256, ModelFile, read_model_file
from inat.config.search import SearchConfig
from inat.constants import MODEL_DIR, SEARCH_KIND
from inat.errors import StudyError
from inat.study.atomic_io import as_disk_full_error, atomic_replace
from inat.study.study import Study
from inat.tuning.worker.trainable import MODEL_FILE

MODEL_INFO, STAGES = "model", "stages"  # key in study.json, and one in its dict


def allow_own_model(config: SearchConfig) -> None:
    """Let this process run the file that the user has named with --model, if any."""
    if config.model is not None:
        from inat.models.own_code import allow_model_file  # loads torch, which other searches do without

        allow_model_file(read_model_file(config.model))


def model_info(config: SearchConfig, stages: int = 0) -> dict[str, Any]:
    """What study.json records of the file of --model, whose network has ``stages``: {} without one."""
    if config.model is None:
        return {}
    file = read_model_file(config.model)
    known = {"file": file.path.name, "function": file.function, "sha256": file.sha256}
    more = {"imports": file.sibling_hashes, STAGES: stages}
    return {MODEL_INFO: known | {name: value for name, value in more.items() if value}}


def keep_copy(study: Study, config: SearchConfig) -> None:
    """Write the study's copy of the file of --model, so that a study is complete and all nodes find the file."""
    if config.model is not None:
        check_model(study.directory, study.info, config)
        copy_into(study.directory / MODEL_DIR, config, study.info[MODEL_INFO]["file"])


def copy_into(folder: Path, config: SearchConfig, name: str = "") -> None:
    """Write a copy of the file of --model, if any, and of the files that it imports into ``folder``.

    The file has by default its own name there.
    """
    if config.model is None:
        return
    file = read_model_file(config.model)
    with as_disk_full_error(folder):
        for relative, source in [*file.siblings, (name or file.path.name, file.source)]:
            _write(folder / relative, source)


def _write(path: Path, source: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_bytes() != source:
        with atomic_replace(path) as partial:
            partial.write_bytes(source)


def copy_of(directory: Path, known: Mapping[str, str]) -> Path:
    """The study's copy; ``known`` is the part of study.json about it."""
    return directory / MODEL_DIR / Path(known["file"]).name


def check_model(directory: Path, info: Mapping[str, Any], config: SearchConfig) -> None:
    """Raise StudyError unless the file of --model has the content with which the study with this ``info`` began."""
    known, now = info.get(MODEL_INFO, {}), model_info(config).get(MODEL_INFO, {})
    if not known and now:
        raise StudyError(f"{directory} is a study of other networks than that of --model {config.model}; leave it out")
    if known and not _is_complete(known):
        raise StudyError(f"study.json of {directory} does not say which file its network is in; restore it from a copy")
    if known.get("sha256") != now.get("sha256"):
        changed = _changed_imports(known, now)
        differs = f"{changed}, which {config.model} imports," if changed else config.model
        raise StudyError(
            f"{differs} differs from the {changed or known['file']} with which {directory} began; restore it, pass "
            f"--model {copy_of(directory, known)}, which is the study's copy, or start a new study"
        )
    if known.get("function") != now.get("function"):
        raise StudyError(
            f"{directory} is a study of {known['function']}() in {known['file']}; add :{known['function']} to --model"
        )


def _changed_imports(known: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first file that the network imports and that has another content; "" if there is none."""
    before, after = (_by_name(info.get("imports", [])) for info in (known, now))
    return next((name for name in before if name in after and before[name] != after[name]), "")


def _by_name(lines: Any) -> dict[str, str]:
    texts = [line for line in lines if isinstance(line, str)] if isinstance(lines, list) else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in texts)}


def _is_complete(known: Mapping[str, Any]) -> bool:
    texts = all(isinstance(known.get(name), str) for name in ("file", "function", "sha256"))
    return texts and known["file"].endswith(".py") and Path(known["file"]).name == known["file"]


def model_settings(study: Study, config: SearchConfig) -> dict[str, str]:
    """The settings of trials with the network of --model: its names, its hash, and where each node finds it.

    {} without --model, whatever study.json says; ``keep_copy`` has checked that its file is that of the study.
    """
    known = study.info.get(MODEL_INFO)
    if config.model is None or not known:
        return {}
    path = copy_of(study.directory, known)
    label = ModelFile(path, known["function"], b"").label
    return {MODEL: label, MODEL_SHA256: known["sha256"], MODEL_FILE: str(path.absolute())}


def describe_own_model(study: Study) -> str:
    """The line about the network of the user; "" for other networks."""
    known = study.info.get(MODEL_INFO)
    if not known:
        return ""
    staged = study.info.get(SEARCH_KIND) != FINETUNE or "strategy" in study.info["space"]
    remark = describe_stages(known.get(STAGES, 0), study.info["space"])
    remark = remark if staged else "it has no stages(model), so the whole network trains"
    more = f"\n        {remark}" if remark else ""
    return f"model   {known['function']}() of {copy_of(study.directory, known)}, the study's copy{more}\n"


def describe_stages(stages: int, space: Mapping[str, Any]) -> str:
    """Say which stages of a network with ``stages`` ones, the head among them, freeze_partial trains; "" for none.

    ``space`` is that of study.json.
    """
    numbers: Sequence[int] = space.get("k_layers", ())
    if not stages or list(numbers) == list(DEFAULT_K_LAYERS) or "strategy" not in space:
        return ""
    before = f"{stages - 1} stage{'s' if stages > 2 else ''} before the head"
    if FREEZE_PARTIAL not in space["strategy"]:
        return f"it has {before}" if numbers else f"it has {before}: {FREEZE_PARTIAL} is left out"
    return f"it has {before}: --k-layers {' '.join(map(str, numbers))}"
