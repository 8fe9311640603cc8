"""How `--help` shows the options of a command: in groups, with placeholders and defaults as a person writes them.

`registry` makes tyro read a command's options through this module; their types, values and defaults do not change.
`inat.cli` uses it too: `inat` may import `analysis`, but not the other way round.

    placeholder   `Annotated[str, "FOLDER"]` shows FOLDER; otherwise the type decides: N for int, PATH for Path, ...
    help text     the string below a dataclass field, or the parameter's entry under "Args:" of a function
    default       "Default: 3." at the end of the help text, unless the text contains its own "Default: ..."
    groups        `OPTION_GROUPS` of a dataclass, in the order of the help: {"data": ("data", "image_size"), ...}
"""

import ast
import dataclasses
import inspect
import itertools
import os
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import (
    MISSING_NONPROP,
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
    UnsupportedTypeAnnotationError,
)

PLACEHOLDERS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}
NUMBERS: dict[Any, tuple[str, tuple[type, ...]]] = {int: ("whole number", (int,)), float: ("number", (int, float))}
POSITIONAL = get_args(tyro.conf.Positional[int])[1]
NO_PREFIX = get_args(tyro.conf.OmitArgPrefixes[int])[1]  # --data-dir, not --data.data-dir


def registry() -> ConstructorRegistry:
    """The rules of this module, for `tyro.cli(registry=...)`."""
    rules = ConstructorRegistry()
    rules.struct_rule(options_of)
    rules.primitive_rule(optional_value)
    rules.primitive_rule(number)
    return rules


def options_of(info: StructTypeInfo) -> StructConstructorSpec | None:
    """The options of a function, a dataclass or a group of options; None for other types, which tyro reads itself."""
    command: Any = info.type
    if inspect.isfunction(command):
        return StructConstructorSpec(instantiate=command, fields=tuple(_parameters(command)))
    if inspect.isclass(command) and issubclass(command, _Group):
        return StructConstructorSpec(instantiate=dict, fields=tuple(command.options))
    own = getattr(command, "__module__", "").partition(".")[0] != "tyro"  # tyro wraps subcommands in a dataclass
    if own and inspect.isclass(command) and dataclasses.is_dataclass(command):
        return _in_groups(command, list(_fields(command, info.default)))
    return None


def optional_value(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | UnsupportedTypeAnnotationError | None:
    """Reads a value that may be None: "None" on the command line, or a value of the other type."""
    kinds = _without_none(info.type)
    if len(kinds) != 1:
        return None
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kinds[0], info.markers))
    if isinstance(spec, UnsupportedTypeAnnotationError):
        return spec
    return dataclasses.replace(
        spec,
        instance_from_str=lambda words: None if words == ["None"] else spec.instance_from_str(words),
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
        choices=None if spec.choices is None else (*spec.choices, "None"),
    )


def number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Reads a number, with an error that says what is wanted: "1.5 is no whole number"."""
    kind = info.type
    if kind not in NUMBERS:
        return None
    name, kinds = NUMBERS[kind]

    def read(words: list[str]) -> Any:
        try:
            return kind(words[0])
        except ValueError as error:
            raise ValueError(f"{words[0]!r} is no {name}") from error

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=PLACEHOLDERS[kind],
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, kinds) and not isinstance(value, bool),
        str_from_instance=lambda value: [str(value)],
    )


def _without_none(annotation: Any) -> list[Any]:
    is_union = get_origin(annotation) in (Union, UnionType)
    return [kind for kind in get_args(annotation) if kind is not NoneType] if is_union else []


class _Group:
    """Base of the classes that stand for one group of options while tyro builds its parser."""

    options: Sequence[StructFieldSpec] = ()


def _in_groups(command: Callable[..., Any], options: Sequence[StructFieldSpec]) -> StructConstructorSpec:
    groups: dict[str, tuple[str, ...]] = getattr(command, "OPTION_GROUPS", {})
    named = {option.name: option for option in options}
    grouped = {name for names in groups.values() for name in names}
    fields = [option for option in options if option.name not in grouped]
    for title, names in groups.items():
        if names:
            group: Any = type(title, (_Group,), {"__doc__": "", "options": [named[name] for name in names]})
            kind: Any = Annotated[group, NO_PREFIX]
            fields.append(StructFieldSpec(name=title, type=kind, default=MISSING_NONPROP))

    def instantiate(**values: Any) -> Any:
        parts = [values.pop(title) for title, names in groups.items() if names]
        return command(**values, **{name: value for part in parts for name, value in part.items()})

    instantiate.__doc__ = command.__doc__  # tyro shows it above the options
    return StructConstructorSpec(instantiate=instantiate, fields=tuple(fields))


def _fields(command: Any, defaults: Any) -> Iterator[StructFieldSpec]:
    hints, docs = get_type_hints(command, include_extras=True), field_docs(command)
    for field in dataclasses.fields(command):
        default = MISSING_NONPROP if field.default is dataclasses.MISSING else field.default
        if isinstance(defaults, command):
            default = getattr(defaults, field.name)
        yield _option(field.name, hints[field.name], default, docs.get(field.name, ""))


def _parameters(command: Callable[..., Any]) -> Iterator[StructFieldSpec]:
    hints, docs = get_type_hints(command, include_extras=True), parameter_docs(command)
    for name, parameter in inspect.signature(command).parameters.items():
        default = MISSING_NONPROP if parameter.default is parameter.empty else parameter.default
        yield _option(name, hints[name], default, docs.get(name, ""))


def field_docs(command: type) -> dict[str, str]:
    """The string below each field of a dataclass, on one line; a subclass's string replaces that of its base."""
    docs = {}
    for base in reversed(command.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in itertools.pairwise(definition.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                    docs[name] = " ".join(doc.split())
    return docs


def parameter_docs(command: Callable[..., Any]) -> dict[str, str]:
    """The entries under "Args:" of a function's docstring, each on one line."""
    _, _, entries = (inspect.getdoc(command) or "").partition("\nArgs:\n")
    found = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", entries, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _option(name: str, annotation: Any, default: Any, text: str) -> StructFieldSpec:
    metadata = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    shown = positional_placeholder(name, annotation, default) if POSITIONAL in metadata else placeholder(annotation)
    style = tyro.conf.arg(metavar=shown, help_behavior_hint=default_text(text, default))
    if default is None and annotation is int:  # None stands for a number that the command computes
        annotation = int | None
    kind: Any = Annotated[annotation, style]
    return StructFieldSpec(name=name, type=kind, default=default, helptext=text)


def placeholder(annotation: Any) -> str | None:
    """What the help shows for a value: "N", "FOLDER", "off|on"; None for a type that has no placeholder here."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Annotated:
        chosen = (item for item in arguments[1:] if isinstance(item, str))
        return next(chosen, None) or placeholder(arguments[0])
    if kinds := _without_none(annotation):
        return placeholder(kinds[0])
    if get_origin(annotation) is tuple:
        return f"{placeholder(arguments[0])} ..."
    return "|".join(map(str, arguments)) if get_origin(annotation) is Literal else PLACEHOLDERS.get(annotation)


def positional_placeholder(name: str, annotation: Any, default: Any) -> str:
    """The name of a positional argument as the help shows it: "STUDY", "[STUDY]" if it is optional, "PHOTOS ..."."""
    shown = f"{name.upper()} ..." if get_origin(get_args(annotation)[0]) is tuple else name.upper()
    return shown if default is MISSING_NONPROP else f"[{shown}]"


def default_text(text: str, default: Any) -> str:
    """The end of a help text, "Default: 3."; empty if ``text`` contains the default or if there is nothing to say."""
    if "Default" in text or default in (None, (), MISSING_NONPROP):
        return ""
    if isinstance(default, bool):
        return f"Default: {'on' if default else 'off'}."
    values = default if isinstance(default, tuple) else (default,)
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return f"Default: {' '.join(words)}.".replace(os.path.expanduser("~"), "~")
