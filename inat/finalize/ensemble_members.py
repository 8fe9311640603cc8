"""The checkpoints of an ensemble's members, and the file that lists them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.files import read_json
from inat.constants import ENSEMBLE_JSON, NAME, TRIAL_ID
from inat.finalize.checkpoints import sha256_of, write_checkpoint
from inat.finalize.ensemble_pool import Scored
from inat.finalize.selection import Selection
from inat.finalize.task import Task
from inat.study.atomic_io import as_disk_full_error, atomic_write
from inat.study.events import TRIAL_ID_PATTERN
from inat.training.checkpoint import load_checkpoint
from inat.training.ensemble import FORMAT
from inat.tuning.worker.trainable import SEED

Member = dict[str, Any]


def write_members(task: Task, scored: Sequence[Scored], selection: Selection, folder: Path) -> list[Member]:
    """Write the members' checkpoints and then the file that lists them; keep the files that are right already."""
    with as_disk_full_error(folder.parent):
        folder.mkdir(exist_ok=True)
    listing = folder / ENSEMBLE_JSON
    known, members = _known_members(listing), []
    for index, weight in selection.weights.items():
        one = scored[index]
        member, target = known.get(one.validation.model, {}), folder / f"{one.run.trial_id}.ckpt"
        if not target.exists() or sha256_of(target) != member.get("sha256"):
            listing.unlink(missing_ok=True)  # a killed process leaves no list of other members
            write_checkpoint(task, one.checkpoint, target)
            member = _describe_member(one, target)
        members.append(member | {"weight": weight})
    _write_listing(listing, {"format": FORMAT, "study": task.study.directory.name, "members": members})
    _remove_others(folder, {member["file"] for member in members})
    return members


def _write_listing(listing: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2) + "\n"
    if not listing.exists() or listing.read_text(encoding="utf-8") != text:
        atomic_write(listing, text)


def _known_members(listing: Path) -> dict[str, Member]:
    """The members that an earlier call wrote, by the hash of the checkpoint that each was made from."""
    try:
        return {str(member["trained_sha256"]): dict(member) for member in read_json(listing)["members"]}
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def remove_members(folder: Path) -> bool:
    """Remove the ensemble that an earlier call chose; files of the user stay. Returns whether there was one."""
    existed = (folder / ENSEMBLE_JSON).exists()
    (folder / ENSEMBLE_JSON).unlink(missing_ok=True)
    _remove_others(folder, set())
    return existed


def _remove_others(folder: Path, kept: set[str]) -> None:
    for path in folder.glob("*.ckpt"):
        if TRIAL_ID_PATTERN.fullmatch(path.stem) and path.name not in kept:
            path.unlink()


def _describe_member(one: Scored, target: Path) -> Member:
    return {
        "file": target.name, TRIAL_ID: one.trial.trial_id, NAME: one.trial.name, "run": one.run.trial_id,
        SEED: one.run.params[SEED], "image_size": one.data.image_size, **cost_of(target),
        "sha256": sha256_of(target), "trained_sha256": one.validation.model,
    }  # fmt: skip


def cost_of(checkpoint: Path) -> dict[str, int]:
    """The forward passes per image and the parameters of a model."""
    loaded = load_checkpoint(checkpoint)
    parameters = sum(parameter.numel() for parameter in loaded.classifier.net.parameters())
    return {"forward_passes": 2 if loaded.config.optim.test_time_flip else 1, "parameters": parameters}
