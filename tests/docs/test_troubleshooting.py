"""Every error message of the program is on a page of docs/troubleshooting, and nothing else is."""

import ast
import builtins
import re
from collections.abc import Iterator

from tests.paths import ROOT

PAGES = ROOT / "docs" / "troubleshooting"
ENTRY = re.compile(r"^`(?P<message>[^`\n]+(?:`[^`\n]+)*)`\n:   ", re.MULTILINE)
GAP = "{}"  # a placeholder of an f-string
# Lists to which messages are added, and functions (with a docstring) that return them, for one error with all of them.
LISTS = ("problems", "messages", "found")
MAKERS = re.compile(r"_(errors?|problems)$|impossible|^describe_failures?$")
TEXTS = re.compile(r"\bstr\b|Problem")  # what such functions return
# Raised for other code of the program, which catches it or adds words of its own; no user reads these alone.
INTERNAL = {
    "inat/cluster/host_session.py", "inat/cluster/probe.py", "inat/cluster/requirements.py", "analysis/__init__.py",
    "inat/__init__.py",
    "analysis/files.py", "inat/study/events.py", "inat/study/archive.py", "inat/training/checkpoint_limits.py",
    "analysis/readers/wandb_api.py", "analysis/readers/ray_tune_files.py", "inat/cluster/check.py",
    "analysis/readers/data_records.py", "analysis/readers/answers.py",
}  # fmt: skip
CAUGHT = {
    "ConnectionCutError",
    "UnfitEventError",
    "AssertionError",
    "CannotCutError",
}  # and their words end up in another error
PARTS = re.compile(
    r"[;,`] ?|make one|name a key|asks for|did you mean|choose from|of another|command -v"
)  # how parts of messages begin
LONG_ENOUGH = 2  # words: shorter texts in lists of problems are parts of messages
CONSTANT = re.compile(r"^([A-Z_]+)(?:: Final)? = \"([^\"]*)\"", re.MULTILINE)


def sources() -> dict[str, str]:
    """The text of every module of the program."""
    paths = [path for package in ("inat", "analysis") for path in sorted((ROOT / package).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


CONSTANTS = dict(found for text in sources().values() for found in CONSTANT.findall(text))


def template(node: ast.expr) -> str:
    """The text of an expression with ``{}`` for what is only known when it runs."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(template(part) for part in parts)
        case ast.FormattedValue(value=ast.Name(id=name)):
            return CONSTANTS.get(name, GAP)
        case ast.BinOp(left=left, right=right):
            return template(left) + template(right)
        case ast.IfExp(body=body):
            return template(body)
    return GAP


def raised(tree: ast.AST) -> Iterator[str]:
    """The message of every ``raise ...Error(...)``, and of every error of this project that is made for later."""
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or not call.args:
            continue
        name, text = call.func.id, template(call.args[0])
        own = name.endswith("Error") and not name.startswith("_") and name not in CAUGHT
        counts = own and (call is not node or not hasattr(builtins, name))
        if counts and text.replace(GAP, "").strip(" :;[]()"):
            yield text


def listed(tree: ast.AST) -> Iterator[str]:
    """The messages that are collected, to be raised together."""
    for node in ast.walk(tree):
        for part in _message_parts(node):
            for text in _whole_texts(part):
                if len(text.replace(GAP, "").split()) >= LONG_ENOUGH and not PARTS.match(text):
                    yield text


def _whole_texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield template(node)
        return
    for child in ast.iter_child_nodes(node):
        yield from _whole_texts(child)


def _message_parts(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append" | "extend")) if name in LISTS:
            return [*node.args]
        case ast.Call(func=ast.Name(id="raise_if_any")):
            return [*node.args]
        case ast.AugAssign(target=ast.Name(id=name), value=value) if name in LISTS:
            return [value]
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in LISTS:
            return [value]
        case ast.FunctionDef(name=name, body=body, returns=kind) if MAKERS.search(name):
            code = body[1:] if ast.get_docstring(node) else body
            return [*code] if kind and TEXTS.search(ast.unparse(kind)) else []
    return []


def messages() -> list[tuple[str, str]]:
    """Place and text of all error messages, each once."""
    found: dict[tuple[str, str], None] = {}
    for place, source in sources().items():
        tree = ast.parse(source)
        texts = [] if place in INTERNAL else [*raised(tree), *(listed(tree) if place.startswith("inat/") else ())]
        found |= {(place, text): None for text in texts}
    return list(found)


def entries() -> list[tuple[str, str]]:
    """Page and message of each entry."""
    return [
        (page.name, match["message"])
        for page in sorted(PAGES.glob("*.md"))
        for match in ENTRY.finditer(page.read_text(encoding="utf-8"))
    ]


def explains(entry: str, message: str) -> bool:
    """Whether ``message`` begins with the parts of ``entry`` between its dots, in this order."""
    parts = [part.strip() for part in entry.split("...")]
    return re.match(".*".join(re.escape(part) for part in parts), _plain(message), re.DOTALL) is not None


def _plain(message: str) -> str:
    return " ".join(message.replace("`", "").split())


def test_every_message_has_an_entry():
    known = [_plain(entry) for _, entry in entries()]
    unexplained = [f"{place}: {text}" for place, text in messages() if not any(explains(e, text) for e in known)]
    assert unexplained == []


def test_every_entry_is_about_a_message():
    raised_now = [text for _, text in messages()]
    stale = [f"{page}: {entry}" for page, entry in entries() if not any(explains(_plain(entry), t) for t in raised_now)]
    assert stale == []


def test_an_entry_explains_only_its_message():
    assert explains("unknown ...; choose from ...", "unknown backbone {}; choose from {}")
    assert not explains("unknown ...; choose from ...", "an unknown backbone")
    assert not explains("no folder ...", "there is no folder {}")
