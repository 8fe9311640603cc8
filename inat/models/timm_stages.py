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
from timm.layers import get_notrace_functions, get_notrace_modules
from timm.models._manipulate import group_parameters
from torch import Tensor, fx, nn
from torch.nn import functional

from inat.errors import ConfigError
from inat.models.stages import HEAD, Stages

MODEL = "model."
LAST = 10**6  # the group of the classifier, after all groups of timm


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
        note = "" if len(stages) > 2 else "only its head can be trained apart, as several tensors pass between its layers"
    except _CannotCutError as error:
        stages = _body_and_head(model, classifier, image_size)
        note = f"{'only its head can be trained apart' if len(stages) > 1 else 'it only trains whole'}, as {error}"
    return TimmStages(stages, _paths_of(classifier, stages), note)


class _CannotCutError(Exception):
    """Why the forward pass of a model cannot be recorded or cut."""


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
    groups = _parameter_groups(model, classifier)
    graph = _recorded(model, groups)
    order = _stage_of_each_node(graph, model, groups)
    tensors = _single_tensors(graph, model, image_size)
    parts = _partition(graph, order, tensors)
    stages: Stages = OrderedDict()
    for part in parts:
        stages[_name(part, stages, model, is_last=part is parts[-1])] = part.module(model)
    if len(stages) < 2:
        raise _CannotCutError("several tensors pass between its layers")
    return stages


def _parameter_groups(model: Any, classifier: Sequence[nn.Module]) -> dict[str, int]:
    """The number of the group of each parameter, by its name; that of the classifier is LAST."""
    last = {id(parameter) for layer in classifier for parameter in layer.parameters()}
    try:
        groups = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    except Exception as error:
        raise _CannotCutError("timm does not group its layers") from error
    rest = {name: groups[name] for name, parameter in model.named_parameters() if id(parameter) not in last}
    tail = [name for name, group in rest.items() if group == max(rest.values())]
    if all(model.get_parameter(name).ndim < 2 for name in tail):  # a last norm is no stage of its own
        before = max((group for name, group in rest.items() if name not in tail), default=0)
        rest |= dict.fromkeys(tail, before)
    return {name: rest.get(name, LAST) for name, _ in model.named_parameters()}


class _Recorder(fx.Tracer):
    """Records a forward pass; a module with parameters of one group, or with none, is one step."""

    def __init__(self, groups: Mapping[str, int]) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.groups = groups

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        groups = {group for name, group in self.groups.items() if name.startswith(f"{path}.")}
        within = len(groups) <= 1 and not isinstance(module, nn.Sequential)
        known: bool = super().is_leaf_module(module, path)
        return within or known or isinstance(module, tuple(get_notrace_modules()))


class _OnlyImages(nn.Module):
    """The model called with images alone, so that its optional inputs, such as masks, have their defaults."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:
        return self.model(images)


def _recorded(model: Any, groups: Mapping[str, int]) -> fx.Graph:
    training, graphs = model.training, []
    try:
        for mode in (True, False):
            graph = _Recorder({f"{MODEL}{name}": group for name, group in groups.items()}).trace(
                _OnlyImages(model.train(mode))
            )
            for node in graph.nodes:
                if node.op in ("call_module", "get_attr"):
                    node.target = node.target.removeprefix(MODEL)
            _use_dropout_layers(graph, model)
            graphs.append(graph)
    except Exception as error:  # the code of any model runs on placeholders here
        raise _CannotCutError("its forward pass depends on its input") from error
    finally:
        model.train(training)
    if len({graph.python_code("self").src for graph in graphs}) > 1:
        raise _CannotCutError("its forward pass differs between training and evaluation")
    return graphs[0]


def _use_dropout_layers(graph: fx.Graph, model: nn.Module) -> None:
    """Replace calls of dropout, which were recorded with a fixed mode, by layers, which know their mode."""
    for node in [node for node in graph.nodes if node.op == "call_function" and node.target is functional.dropout]:
        share = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
        model.add_module(node.name, nn.Dropout(share))
        with graph.inserting_before(node):
            layer = graph.call_module(node.name, (node.args[0] if node.args else node.kwargs["input"],))
        node.replace_all_uses_with(layer)
        graph.erase_node(node)


def _stage_of_each_node(graph: fx.Graph, model: nn.Module, groups: Mapping[str, int]) -> dict[fx.Node, int]:
    order: dict[fx.Node, int] = {}
    for node in graph.nodes:
        own = _own_groups(node, groups)
        order[node] = max([*own, *(order[given] for given in node.all_input_nodes), -1])
    for node in reversed(graph.nodes):  # dropout before the classifier is part of the head: a frozen body has none
        if _is_dropout(node, model) and all(order[user] >= LAST for user in node.users):
            order[node] = LAST
    return order


def _own_groups(node: fx.Node, groups: Mapping[str, int]) -> list[int]:
    if node.op not in ("call_module", "get_attr"):
        return []
    path = str(node.target)
    return [group for name, group in groups.items() if name == path or name.startswith(f"{path}.")]


def _is_dropout(node: fx.Node, model: nn.Module) -> bool:
    return node.op == "call_module" and isinstance(model.get_submodule(str(node.target)), nn.Dropout)


def _constants(graph: fx.Graph, order: Mapping[fx.Node, int]) -> set[fx.Node]:
    """Nodes without parameters that do not depend on the images, such as rotary positions: each stage computes them."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op not in ("placeholder", "output") and order[node] < 0 and found.issuperset(node.all_input_nodes):
            found.add(node)
    return found


class _Watcher(fx.Interpreter):  # type: ignore[misc]
    """Runs a graph and notes which nodes give one tensor."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, graph=graph, garbage_collect_values=True)
        self.tensors: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.tensors.add(n)
        return value


def _single_tensors(graph: fx.Graph, model: nn.Module, image_size: int) -> set[fx.Node]:
    training, first = model.training, next(model.parameters())
    watcher = _Watcher(model.eval(), graph)
    try:
        with torch.no_grad():
            watcher.run(torch.zeros(1, 3, image_size, image_size, device=first.device))
    except Exception as error:  # if the size is the cause, the model itself will say so
        raise _CannotCutError("its forward pass changes lists of tensors") from error
    finally:
        model.train(training)
    return watcher.tensors


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


def _partition(graph: fx.Graph, order: Mapping[fx.Node, int], tensors: set[fx.Node]) -> list[_Part]:
    constants = _constants(graph, order)
    nodes = [node for node in graph.nodes if node not in constants and node.op not in ("placeholder", "output")]
    images = next(node for node in graph.nodes if node.op == "placeholder")
    (returned,) = (node.args[0] for node in graph.nodes if node.op == "output")
    if not isinstance(returned, fx.Node) or returned not in tensors:
        raise _CannotCutError("it returns more than its logits")
    parts, open_nodes, given = [], [], images
    for group in sorted({order[node] for node in nodes}):
        open_nodes += [node for node in nodes if order[node] == group]
        done = {images, *(node for node in nodes if order[node] <= group)}
        later = [node for node in nodes if order[node] > group]
        passed = {node for node in done for user in node.users if user in later}
        if not later:
            passed = {returned}
        if len(passed) == 1 and passed <= tensors and images not in passed:
            (result,) = passed
            parts.append(_Part(tuple(open_nodes), given, result))
            open_nodes, given = [], result
    return parts


def _name(part: _Part, stages: Stages, model: nn.Module, *, is_last: bool) -> str:
    """The name of the layers in the model, such as layers_2; the first stage is the stem, the last one the head."""
    if is_last:
        return HEAD
    if not stages:
        return "stem"
    paths = [str(n.target).split(".") for n in part.nodes if n.op == "call_module" and _has_parameters(model, n)]
    first = paths[0] if paths else ["stage"]
    shared = first[: _shared_length([path for path in paths if path[0] == first[0]] or [first])]
    while len(shared) > 1 and shared[-1] == "0" and len(list(model.get_submodule(".".join(shared[:-1])).children())) == 1:
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
