"""Names of timm's models, `timm:NAME` or `timm:NAME.TAG`, and the settings that their weights were published for.

timm is imported only when such a name occurs: it loads torch, which a search over other networks does without.
"""

import difflib
import functools
from typing import Any

TIMM = "timm:"  # begins the name of a backbone of timm
SHOWN = 3  # close names in a message


def is_timm(backbone: Any) -> bool:
    """Whether a backbone has the form of a name of timm.

    >>> is_timm("timm:convnext_tiny.fb_in22k"), is_timm("resnet50")
    (True, False)
    """
    return isinstance(backbone, str) and backbone.startswith(TIMM)


@functools.cache
def timm_errors(backbone: str) -> tuple[str, ...]:
    """A message if timm has no such model, or no such weights of it, with the closest names.

    >>> timm_errors("timm:vit_tiny_patch16_224"), timm_errors("timm:zzz")
    ((), ("unknown backbone 'timm:zzz'; `inat backbones --search WORD` lists timm's models",))
    """
    import timm
    from timm.models import is_model, list_pretrained, split_model_name_tag

    name = backbone.removeprefix(TIMM)
    architecture, tag = split_model_name_tag(name)
    if not is_model(architecture):
        return (f"unknown backbone {backbone!r}; {_did_you_mean(architecture, timm.list_models())}",)
    # A model may have weights without a tag.
    tags = [known for known in list_pretrained() if known.partition(".")[0] == architecture]
    if tag and name not in tags:
        return (f"unknown weights {tag!r} of {TIMM}{architecture}; {_tags(tags)}",)
    return ()


def _tags(names: list[str]) -> str:
    return f"its weights are {', '.join(TIMM + name for name in names)}" if names else "timm publishes none of it"


def _did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, SHOWN, 0.6) or [other for other in known if name in other][:SHOWN]
    if not close:
        return "`inat backbones --search WORD` lists timm's models"
    shown = [TIMM + other for other in close]
    return f"did you mean {' or '.join(filter(None, [', '.join(shown[:-1]), shown[-1]]))}?"


@functools.cache
def timm_settings(backbone: str) -> Any:
    """timm's settings of the weights of ``backbone``, an object with ``input_size``, ``mean``, ``std`` and so on."""
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(backbone.removeprefix(TIMM))
