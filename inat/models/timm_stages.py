"""Any model of timm as an ordered list of named stages, without a word from timm about where to cut.

torch.fx records the forward pass once. Modules whose parameters all belong to one group of timm's ``group_matcher`` are
recorded as one step, so what depends on the mode (dropout, drop path, batch norm) stays in timm's own code. Each step
belongs to the latest group among its inputs and its own parameters. The network can be cut after a group if exactly one
tensor passes from there to the later groups; otherwise the group is merged with the next one.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from inat.errors import ConfigError
from inat.models.stages import HEAD, Stages
from inat.models.timm_graph import (
    LAST,
    CannotCutError,
    constants,
    group_of_each_node,
    own_groups,
    parameter_groups,
    record,
    single_tensors,
)


@dataclass(frozen=True, slots=True)
class TimmStages:
    """Stages of a model, the paths of its classifier's layers in them, and why there are only two or one, if so."""

    stages: Stages
    outputs: tuple[str, ...]
    note: str = ""


def timm_stages(model: Any, image_size: int) -> TimmStages:
    """Cut ``model`` into stages that share its layers; ConfigError if it has no classifier.

    A model whose forward pass cannot be recorded has two stages, or one if its classifier cannot be taken off.
    """
    classifier = _classifier_layers(model)
    try:
        stages = _cut(model, classifier, image_size)
        note = (
            "" if len(stages) > 2 else "only its head can be trained apart, as several tensors pass between its layers"
        )
    except CannotCutError as error:
        stages = _body_and_head(model, classifier, image_size)
        note = f"{'only its head can be trained apart' if len(stages) > 1 else 'it only trains whole'}, as {error}"
    return TimmStages(stages, _paths_of(classifier, stages), note)


def _classifier_layers(model: Any) -> tuple[nn.Module, ...]:
    """The layers that compute the logits: one, or two in distilled models."""
    found = model.get_classifier()
    layers = tuple(found.values()) if isinstance(found, dict) else tuple(_as_list(found))
    if not layers or not any(True for layer in layers for _ in layer.parameters()):
        raise ConfigError(f"{type(model).__name__} of timm has no classifier; choose another model")
    return layers


def _as_list(found: Any) -> Sequence[nn.Module]:
    return list(found) if isinstance(found, (tuple, list, nn.ModuleList)) else [found]


def _paths_of(layers: Sequence[nn.Module], stages: Stages) -> tuple[str, ...]:
    names = {id(module): path for path, module in nn.Sequential(stages).named_modules()}
    return tuple(names[id(layer)] for layer in layers if id(layer) in names)


def _cut(model: Any, classifier: Sequence[nn.Module], image_size: int) -> Stages:
    groups = parameter_groups(model, classifier)
    graph = record(model, groups)
    order = group_of_each_node(graph, model, groups)
    tensors = single_tensors(graph, model, image_size)
    fixed = {node for node in graph.nodes if own_groups(node, groups)}
    parts = _partition(graph, order, tensors, fixed)
    stages: Stages = OrderedDict()
    for part in parts:
        stages[_name(part, stages, model, is_last=part is parts[-1])] = part.module(model)
    if len(stages) < 2:
        raise CannotCutError("several tensors pass between its layers")
    return stages


@dataclass(frozen=True, slots=True)
class _Part:
    """Consecutive nodes of a graph that become one stage: they take ``given`` and return ``result``."""

    nodes: tuple[fx.Node, ...]
    given: fx.Node
    result: fx.Node

    def module(self, model: nn.Module) -> nn.Module:
        graph = fx.Graph()
        copies = {self.given: graph.placeholder("flow")}

        def copy_of(node: fx.Node) -> fx.Node:
            if node not in copies:  # a constant, which each stage computes that needs it
                copies[node] = graph.node_copy(node, copy_of)
            return copies[node]

        for node in self.nodes:
            if node is not self.given:
                copy_of(node)
        graph.output(copies[self.result])
        return fx.GraphModule(model, graph, "Stage")


def _partition(graph: fx.Graph, order: dict[fx.Node, int], tensors: set[fx.Node], fixed: set[fx.Node]) -> list[_Part]:
    """Cut after each group from which one tensor passes to the later ones; nodes in ``fixed`` belong to their group."""
    without = constants(graph, order)
    nodes = [node for node in graph.nodes if node not in without and node.op not in ("placeholder", "output")]
    images = next(node for node in graph.nodes if node.op == "placeholder")
    (returned,) = (node.args[0] for node in graph.nodes if node.op == "output")
    if not isinstance(returned, fx.Node) or returned not in tensors:
        raise CannotCutError("it returns more than its logits")
    parts: list[_Part] = []
    open_nodes: list[fx.Node] = []
    given, groups = images, sorted({order[node] for node in nodes})
    for group, following in zip(groups, [*groups[1:], LAST + 1], strict=True):
        _delay(nodes, order, group, following, fixed | {given})
        open_nodes += [node for node in nodes if order[node] == group]
        passed = _passed(nodes, order, group) if group < groups[-1] else {returned}
        if images not in passed and len(passed) == 1 and passed <= tensors and open_nodes:
            (result,) = passed
            parts.append(_Part(tuple(open_nodes), given, result))
            open_nodes, given = [], result
    return parts


def _passed(nodes: Sequence[fx.Node], order: Mapping[fx.Node, int], group: int) -> set[fx.Node]:
    """The nodes up to a group, and the images, that later groups use."""
    later = [node for node in nodes if order[node] > group]
    return {given for node in later for given in node.all_input_nodes if order[given] <= group} & {
        *nodes, *(node for node in order if node.op == "placeholder")
    }  # fmt: skip


def _delay(
    nodes: Sequence[fx.Node], order: dict[fx.Node, int], group: int, following: int, fixed: set[fx.Node]
) -> None:
    """Move nodes to the next group if one tensor passes then: two tokens of a sequence, or the size of a batch."""
    moved: list[fx.Node] = []
    while len(passed := _passed(nodes, order, group)) > 1:
        movable = [node for node in passed if order[node] == group and node not in fixed]
        if not movable:
            break
        moved += movable
        order.update(dict.fromkeys(movable, following))
    if len(passed) != 1:
        order.update(dict.fromkeys(moved, group))


def _name(part: _Part, stages: Stages, model: nn.Module, *, is_last: bool) -> str:
    """The name of the layers in the model, such as layers_2; the first stage is the stem, the last one the head."""
    if is_last:
        return HEAD
    if not stages:
        return "stem"
    paths = [str(n.target).split(".") for n in part.nodes if n.op == "call_module" and _has_parameters(model, n)]
    first = paths[0] if paths else ["stage"]
    shared = first[: _shared_length([path for path in paths if path[0] == first[0]] or [first])]
    while (
        len(shared) > 1 and shared[-1] == "0" and len(list(model.get_submodule(".".join(shared[:-1])).children())) == 1
    ):
        shared = shared[:-1]  # the only block of a group is the group
    name = "_".join(shared)
    return name if name not in stages and name != HEAD else f"{name}_{len(stages)}"


def _has_parameters(model: nn.Module, node: fx.Node) -> bool:
    return any(True for _ in model.get_submodule(str(node.target)).parameters())


def _shared_length(paths: Sequence[Sequence[str]]) -> int:
    """How many leading parts all paths have in common."""
    return next((i for i, names in enumerate(zip(*paths, strict=False)) if len(set(names)) > 1), min(map(len, paths)))


def _body_and_head(model: nn.Module, classifier: Sequence[nn.Module], image_size: int) -> Stages:
    """Two stages: the model without its classifier, and the classifier; one if that gives other logits."""
    images = torch.rand(2, 3, image_size, image_size, device=next(model.parameters()).device)
    whole = _logits(model, images)  # raises if the model cannot take images of this size
    if len(classifier) > 1:
        return OrderedDict({HEAD: model})
    (layer,) = classifier
    path = next(name for name, module in model.named_modules() if module is layer)
    model.set_submodule(path, nn.Identity())
    features = _logits(model, images)
    if isinstance(features, Tensor) and torch.equal(_logits(layer, features), whole):
        return OrderedDict({"body": model, HEAD: nn.Sequential(OrderedDict(linear=layer))})
    model.set_submodule(path, layer)
    return OrderedDict({HEAD: model})


def _logits(model: nn.Module, images: Tensor) -> Any:
    training = model.training
    with torch.no_grad():
        logits = model.eval()(images)
    model.train(training)
    return logits
