"""Find the run, the step and the epoch in what a checkpoint holds.

W&B has no rule for where a checkpoint names its run; people write it under the
names listed here, at the top or inside the configuration they save along. Only
these names are looked up, in a bounded number of places, so that the shape and
size of the rest do not matter.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pull_logs.errors import DataError, NotFoundError, UsageError
from pull_logs.rows.canonical import parse_json
from pull_logs.runs import RunReference
from pull_logs.sources.checkpoints.pickles import Inert

PATH_KEYS = ("wandb_run_path", "wandb_path", "wandb_run_url", "wandb_url", "wandb_run")
ID_KEYS = ("wandb_run_id", "wandb_id", "wandb_runid")
PROJECT_KEYS = ("wandb_project", "wandb_project_name")
ENTITY_KEYS = ("wandb_entity", "wandb_team")
"""Names that speak of W&B by themselves, wherever they stand."""

PLAIN_PATH_KEYS = ("run_path", "path", "run_url", "url")
PLAIN_ID_KEYS = ("run_id", "id", "run")
PLAIN_PROJECT_KEYS = ("project", "project_name")
PLAIN_ENTITY_KEYS = ("entity", "team")
"""Names that speak of W&B inside something called `wandb`."""

SCOPES = (
    "wandb", "wandb_config", "wandb_run", "wandb_info", "config", "cfg", "args", "hyper_parameters", "hparams",
    "hyperparameters", "train_args", "training_args", "opt", "params", "meta", "metadata", "extra", "extras",
    "info", "logger", "logging", "trainer", "train", "experiment", "state", "wandb_logger", "client_state",
    "extra_state", "datamodule_hyper_parameters", "run", "run_config",
)  # fmt: skip
"""Names under which a run may be named one level deeper."""

STEP_KEYS = (
    "step", "global_step", "global_steps", "iteration", "iter", "iter_num", "it", "current_step", "completed_steps",
)  # fmt: skip
EPOCH_KEYS = ("epoch", "current_epoch")
STEP_SCOPES = (
    "wandb", "trainer_state", "train_state", "client_state", "extra_state", "state", "meta", "metadata", "info",
)  # fmt: skip

TOLD_KEYS = frozenset(
    {
        *PATH_KEYS, *ID_KEYS, *PROJECT_KEYS, *ENTITY_KEYS, *PLAIN_PATH_KEYS, *PLAIN_ID_KEYS, *PLAIN_PROJECT_KEYS,
        *PLAIN_ENTITY_KEYS, *SCOPES, *STEP_KEYS, *EPOCH_KEYS, *STEP_SCOPES,
    }
)  # fmt: skip
"""Every name that is looked up."""

_LIGHTNING_VERSION = "pytorch-lightning_version"
_LIGHTNING_STEPS = ("loops", "fit_loop", "epoch_loop.state_dict", "_batches_that_stepped")
"""Where Lightning keeps the step that its loggers write as `trainer/global_step`; with several optimizers its
`global_step` counts more often (`lightning.pytorch.loops.training_epoch_loop`)."""

MAX_DEPTH = 3
MAX_SCOPES = 200
_SHOWN_KEYS = 12
_MAX_JSON = 1 << 20

_SCALARS = {
    "b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q",
    "f2": "e", "f4": "f", "f8": "d",
}  # fmt: skip
"""NumPy's names of the types of one number, and those of `struct`."""


Scope = tuple[str, Mapping[object, object]]
"""A place that may name a run: the levels of its name joined by dots, and its members."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run that something names.

    Attributes:
        reference: The run; its project and entity may be missing.
        key: Where it was found, levels joined by dots.
    """

    reference: RunReference
    key: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the training was; None where nothing tells.

    Attributes:
        step_key: Where the step was found, levels joined by dots; empty without one.
        epoch_key: The same of the epoch.
    """

    step: int | None = None
    epoch: float | None = None
    step_key: str = ""
    epoch_key: str = ""

    def within(self, part: str) -> Progress:
        """The same, found in a part of the checkpoint: `trainer_state.json:`."""
        step_key, epoch_key = (key and f"{part}{key}" for key in (self.step_key, self.epoch_key))
        return replace(self, step_key=step_key, epoch_key=epoch_key)

    def completed(self, other: Progress) -> Progress:
        """This, with what it lacks taken from another."""
        step = self if self.step is not None else other
        epoch = self if self.epoch is not None else other
        return Progress(step.step, epoch.epoch, step.step_key, epoch.epoch_key)


def find_run(root: object, *, where: str) -> FoundRun | None:
    """The run that is named in what a checkpoint holds; None when none is.

    Args:
        root: A value as `read_pickle` gives it, or parsed JSON.
        where: What to call the file in an error.

    Raises:
        NotFoundError: A key that names runs holds something that names none.
    """
    scopes = list(_scopes(root))
    for key, text, _ in _texts(scopes, PATH_KEYS):
        return FoundRun(_parse(text, key=key, where=where), key)
    for key, text, _ in _texts(scopes, PLAIN_PATH_KEYS, only_wandb=True):
        if "/runs/" in text or (text.count("/") in (1, 2) and text[0] not in "/.~"):
            return FoundRun(_parse(text, key=key, where=where), key)
    for keys, only_wandb in ((ID_KEYS, False), (PLAIN_ID_KEYS, True)):
        for key, text, members in _texts(scopes, keys, only_wandb=only_wandb):
            return FoundRun(_with_home(_parse(text, key=key, where=where), members, scopes), key)
    for key, text, members in _texts(scopes, ("run_id",)):
        # Other trackers use the name too: what is no id of W&B's is not meant.
        with suppress(UsageError):
            return FoundRun(_with_home(RunReference.parse(text), members, scopes), key)
    return None


def run_at(root: object, key: str, *, where: str) -> FoundRun:
    """The run at a key that the user named: dotted levels, or a key with dots in it.

    Raises:
        NotFoundError: There is no such key, or it names no run.
    """
    value = plain(_lookup(root, key))
    if value is None:
        raise NotFoundError(
            f"{where!r} has no key {key!r}; it holds {seen_keys(root)}",
            hint="choose one with --checkpoint-key",
        )
    if isinstance(value, str) and value.strip() and members_of(value) is None:
        reference = _parse(value.strip(), key=key, where=where)
        return FoundRun(_with_home(reference, {}, list(_scopes(root))), key)
    run = find_run({"wandb": value}, where=where)
    if run is not None:
        return FoundRun(_with_home(run.reference, {}, list(_scopes(root))), key)
    raise NotFoundError(
        f"{where!r} names no run at the key {key!r}", hint="name the run with -r, or another --checkpoint-key"
    )


def find_progress(root: object) -> Progress:
    """The step and the epoch that a checkpoint tells, at its top or in what tells of its state."""
    top = members_of(root) or {}
    places = [("", top)]
    places += [(name, found) for name in STEP_SCOPES if (found := members_of(top.get(name))) is not None]
    step, step_key = _lightning_step(top) or _first_number(places, STEP_KEYS)
    epoch, epoch_key = _first_number(places, EPOCH_KEYS)
    if step is None or step != int(step):
        return Progress(None, epoch, "", epoch_key)
    return Progress(int(step), epoch, step_key, epoch_key)


def _lightning_step(top: Mapping[object, object]) -> tuple[float, str] | None:
    if _LIGHTNING_VERSION not in top:
        return None
    value: object = top
    for level in _LIGHTNING_STEPS:
        value = (members_of(value) or {}).get(level)
    number = _number(value)
    return None if number is None else (number, ".".join(_LIGHTNING_STEPS))


def seen_keys(root: object) -> str:
    """The keys of a checkpoint's top, for a message."""
    members = members_of(root)
    if members is None:
        return f"a single {type(root).__name__ if not isinstance(root, Inert) else root.name}"
    keys = [repr(key) for key in members if isinstance(key, (str, int))]
    shown = ", ".join(keys[:_SHOWN_KEYS])
    return (
        f"the keys {shown}{f' and {len(keys) - _SHOWN_KEYS} more' if len(keys) > _SHOWN_KEYS else ''}"
        if keys
        else "no keys"
    )


def members_of(value: object) -> Mapping[object, object] | None:
    """What a value holds by name: a dict, the attributes of an object, JSON text of an object.

    An `Inert` stands for `argparse.Namespace`, a dataclass, a subclass of dict
    or OmegaConf's nodes (whose state keeps the members in `_content`).
    """
    if isinstance(value, str):
        return _json_members(value)
    if isinstance(value, dict):
        return value
    if not isinstance(value, Inert):
        return None
    found: dict[object, object] = {}
    if isinstance(value.args, tuple) and len(value.args) == 1:
        found |= _pairs(value.args[0])
    # Objects with slots have two states: that of the dict and that of the slots.
    for state in value.state if isinstance(value.state, tuple) else (value.state,):
        if isinstance(state, dict):
            content = state.get("_content", state)
            found |= content if isinstance(content, dict) else {}
    found |= value.items or {}
    return found or None


def plain(value: object) -> object:
    """A value without what wraps a single one: OmegaConf's nodes and NumPy's scalars."""
    for _ in range(4):
        if not isinstance(value, Inert):
            break
        if isinstance(value.state, dict) and "_val" in value.state:
            value = value.state["_val"]
        elif value.name.endswith("multiarray.scalar"):
            return _numpy_scalar(value.args)
        else:
            break
    return value


def _scopes(root: object) -> Iterator[Scope]:
    """The top of a checkpoint and the places below it that may name its run, breadth first."""
    level: list[tuple[str, object]] = [("", root)]
    seen: set[int] = set()
    for _ in range(MAX_DEPTH + 1):
        deeper: list[tuple[str, object]] = []
        for name, value in level:
            if id(value) in seen or len(seen) >= MAX_SCOPES:
                continue
            seen.add(id(value))
            members = members_of(value)
            if members is None:
                continue
            yield name, members
            deeper += ((_join(name, scope), members[scope]) for scope in SCOPES if scope in members)
        level = deeper


def _texts(
    scopes: Sequence[Scope], keys: Sequence[str], *, only_wandb: bool = False
) -> Iterator[tuple[str, str, Mapping[object, object]]]:
    """The texts under these keys: where each stands, it, and what stands beside it."""
    for name, members in scopes:
        if only_wandb and not _is_wandb(name):
            continue
        for key in keys:
            text = plain(members.get(key))
            if isinstance(text, str) and text.strip():
                yield _join(name, key), text.strip(), members


def _with_home(
    reference: RunReference,
    members: Mapping[object, object],
    scopes: Sequence[Scope],
) -> RunReference:
    """The reference with the project and the entity that stand beside it, or elsewhere."""
    project = reference.project or _home(PROJECT_KEYS, PLAIN_PROJECT_KEYS, members, scopes)
    entity = reference.entity or _home(ENTITY_KEYS, PLAIN_ENTITY_KEYS, members, scopes)
    return replace(reference, project=project, entity=entity)


def _home(
    keys: Sequence[str],
    plain_keys: Sequence[str],
    members: Mapping[object, object],
    scopes: Sequence[Scope],
) -> str | None:
    in_wandb = [found for name, found in scopes if _is_wandb(name)]
    everywhere = [found for _, found in scopes]
    for places, names in (
        ((members,), (*keys, *plain_keys)),
        (everywhere, keys),
        (in_wandb, plain_keys),
        (everywhere, plain_keys),
    ):
        for place in places:
            for name in names:
                text = plain(place.get(name))
                if isinstance(text, str) and text and "/" not in text:
                    return text
    return None


def _is_wandb(name: str) -> bool:
    return name.rpartition(".")[2].startswith("wandb")


def _join(scope: str, key: str) -> str:
    return f"{scope}.{key}" if scope else key


def _parse(text: str, *, key: str, where: str) -> RunReference:
    try:
        return RunReference.parse(text)
    except UsageError as exc:
        raise NotFoundError(
            f"{where!r} names the run {text[:200]!r} at {key!r}, which is no run path",
            hint="name the run with -r, or another key with --checkpoint-key",
        ) from exc


def _lookup(root: object, key: str) -> object:
    members = members_of(root)
    if members is None:
        return None
    if key in members:
        return members[key]
    head, dot, rest = key.partition(".")
    return _lookup(members.get(head), rest) if dot else None


def _first_number(places: Sequence[Scope], keys: Sequence[str]) -> tuple[float | None, str]:
    """The first number under these keys, and where it stands."""
    for name, members in places:
        for key in keys:
            number = _number(members.get(key))
            if number is not None:
                return number, _join(name, key)
    return None, ""


def _number(value: object) -> float | None:
    value = plain(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**63:
        return None
    return int(value) if value == int(value) else value


def _json_members(text: str) -> Mapping[object, object] | None:
    """The members of a JSON object in text: the metadata of `.safetensors` files is all text."""
    if text.lstrip()[:1] != "{" or len(text) > _MAX_JSON:
        return None
    try:
        value = parse_json(text)
    except DataError:
        return None
    return value if isinstance(value, dict) else None


def _pairs(value: object) -> dict[object, object]:
    """The members of an `OrderedDict` or a `dict` that would have been called with this argument."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return {}
    return {
        pair[0]: pair[1]
        for pair in value
        if isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
    }


def _numpy_scalar(args: object) -> object:
    """The number in `numpy.core.multiarray.scalar(dtype("i8", False, True), b"...")`."""
    if not isinstance(args, tuple) or len(args) != 2 or not isinstance(args[0], Inert):
        return None
    dtype, data = args
    name = dtype.args[0] if isinstance(dtype.args, tuple) and dtype.args else None
    order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
    if isinstance(data, Inert) and data.name == "_codecs.encode" and isinstance(data.args, tuple):
        # Protocol 2 has no bytes; they are text that would be encoded as Latin-1.
        text = data.args[0] if data.args else None
        data = text.encode("latin-1", "replace") if isinstance(text, str) else None
    form = _SCALARS.get(name) if isinstance(name, str) else None
    if form is None or not isinstance(data, bytes) or struct.calcsize(f"={form}") != len(data):
        return None
    value: object = struct.unpack((">" if order == ">" else "<") + form, data)[0]
    return value
