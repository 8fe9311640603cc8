"""The forward pass of a model of timm as a graph whose nodes belong to groups of layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.models._features_fx import get_notrace_functions, get_notrace_modules
from timm.models._manipulate import group_parameters
from torch import Tensor, fx, nn
from torch.nn import functional

MODEL = "model."  # before the names of layers while a model is recorded
LAST = 10**6  # the group of the classifier, after all groups of timm


class CannotCutError(Exception):
    """Why the forward pass of a model cannot be recorded or cut."""


def parameter_groups(model: Any, classifier: Sequence[nn.Module]) -> dict[str, int]:
    """The number of the group of each parameter, by its name; that of the classifier is LAST."""
    last = {id(parameter) for layer in classifier for parameter in layer.parameters()}
    try:
        groups = group_parameters(model, model.group_matcher(coarse=True), reverse=True)
    except Exception as error:
        raise CannotCutError("timm does not group its layers") from error
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


def record(model: Any, groups: Mapping[str, int]) -> fx.Graph:
    """The forward pass for images alone; CannotCutError if it cannot be recorded, or differs between the modes."""
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
        raise CannotCutError("its forward pass depends on its input") from error
    finally:
        model.train(training)
    if len({graph.python_code("self").src for graph in graphs}) > 1:
        raise CannotCutError("its forward pass differs between training and evaluation")
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


def group_of_each_node(graph: fx.Graph, model: nn.Module, groups: Mapping[str, int]) -> dict[fx.Node, int]:
    """The latest group among the inputs and the own parameters of each node; -1 before all groups."""
    order: dict[fx.Node, int] = {}
    for node in graph.nodes:
        own = own_groups(node, groups)
        order[node] = max([*own, *(order[given] for given in node.all_input_nodes), -1])
    for node in reversed(graph.nodes):  # dropout before the classifier is part of the head: a frozen body has none
        if _is_dropout(node, model) and all(order[user] >= LAST for user in node.users):
            order[node] = LAST
    return order


def own_groups(node: fx.Node, groups: Mapping[str, int]) -> list[int]:
    """The groups of the parameters that a node uses itself."""
    if node.op not in ("call_module", "get_attr"):
        return []
    path = str(node.target)
    return [group for name, group in groups.items() if name == path or name.startswith(f"{path}.")]


def _is_dropout(node: fx.Node, model: nn.Module) -> bool:
    return node.op == "call_module" and isinstance(model.get_submodule(str(node.target)), nn.Dropout)


def constants(graph: fx.Graph, order: Mapping[fx.Node, int]) -> set[fx.Node]:
    """Nodes without parameters that do not depend on the images, such as rotary positions: each stage computes them."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op not in ("placeholder", "output") and order[node] < 0 and found.issuperset(node.all_input_nodes):
            found.add(node)
    return found


class _Watcher(fx.Interpreter):
    """Runs a graph and notes which nodes give one tensor."""

    def __init__(self, module: nn.Module, graph: fx.Graph) -> None:
        super().__init__(module, graph=graph, garbage_collect_values=True)
        self.tensors: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.tensors.add(n)
        return value


def single_tensors(graph: fx.Graph, model: nn.Module, image_size: int) -> set[fx.Node]:
    """The nodes that give one tensor, found by running the graph on an image."""
    training, first = model.training, next(model.parameters())
    watcher = _Watcher(model.eval(), graph)
    try:
        with torch.no_grad():
            watcher.run(torch.zeros(1, 3, image_size, image_size, device=first.device))
    except Exception as error:  # if the size is the cause, the model itself will say so
        raise CannotCutError("its forward pass changes lists of tensors") from error
    finally:
        model.train(training)
    return watcher.tensors
