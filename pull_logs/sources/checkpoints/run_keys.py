"""The run, the step and the epoch that a checkpoint names.

W&B has no rule for how a checkpoint names its run; people use the keys listed here, at the top or inside a
configuration that they save with it. Only these keys are looked up, in a bounded number of dicts, so the
shape and size of the other values do not matter. See docs/checkpoints.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

from pull_logs.errors import NotFoundError, UsageError
from pull_logs.runs import RunReference
from pull_logs.sources.checkpoints.calls import Inert
from pull_logs.sources.checkpoints.values import lookup, members_of, number_of, plain, seen_keys, size_of

PATH_KEYS = ("wandb_run_path", "wandb_path", "wandb_run_url", "wandb_url", "wandb_run")
ID_KEYS = ("wandb_run_id", "wandb_id", "wandb_runid", "wandb_resume_id", "WANDB_RUN_ID")
PROJECT_KEYS = ("wandb_project", "wandb_project_name", "WANDB_PROJECT")
ENTITY_KEYS = ("wandb_entity", "wandb_team", "WANDB_ENTITY")
"""Keys that refer to W&B by themselves, in any dict."""

PLAIN_PATH_KEYS = ("run_path", "path", "run_url", "url")
PLAIN_ID_KEYS = ("run_id", "id", "run")
PLAIN_PROJECT_KEYS = ("project", "project_name")
PLAIN_ENTITY_KEYS = ("entity", "team")
"""Keys that refer to W&B inside a dict called `wandb`."""

SCOPES = (
    "wandb", "wandb_config", "wandb_run", "wandb_info", "config", "cfg", "args", "hyper_parameters",
    "hparams", "hyperparameters", "train_args", "training_args", "opt", "params", "meta", "metadata",
    "extra", "extras",
    "info", "logger", "logging", "trainer", "train", "experiment", "state", "wandb_logger", "client_state",
    "extra_state", "datamodule_hyper_parameters", "run", "run_config",
)  # fmt: skip
"""Keys of dicts that may name the run."""

STEP_KEYS = (
    "step", "global_step", "global_steps", "iteration", "iter", "iter_num", "it", "current_step",
    "completed_steps", "update_step", "num_updates", "train_step", "training_step", "optimizer_step",
    "global_iter", "current_iteration",
)  # fmt: skip
EPOCH_KEYS = ("epoch", "current_epoch")
STEP_SCOPES = (
    "wandb", "trainer_state", "train_state", "client_state", "extra_state", "state", "meta", "metadata",
    "info",
)  # fmt: skip

RUN_KEYS = frozenset(
    {
        *PATH_KEYS, *ID_KEYS, *PROJECT_KEYS, *ENTITY_KEYS, *PLAIN_PATH_KEYS, *PLAIN_ID_KEYS,
        *PLAIN_PROJECT_KEYS, *PLAIN_ENTITY_KEYS, *SCOPES, *STEP_KEYS, *EPOCH_KEYS, *STEP_SCOPES,
    }
)  # fmt: skip
"""Every key that is looked up."""

LIGHTNING_VERSION = "pytorch-lightning_version"
_LIGHTNING_STEPS = ("loops", "fit_loop", "epoch_loop.state_dict", "_batches_that_stepped")
"""The path of the step that Lightning's loggers write as `trainer/global_step`; with several optimizers, its
`global_step` counts more often (`lightning.pytorch.loops.training_epoch_loop`)."""

MAX_DEPTH = 3
MAX_SCOPES = 200
MAX_DEEP = 6
"""The most levels at which keys that refer to W&B by themselves are found, under any names."""

MAX_VISITED = 20_000
"""The most values that are looked at below these levels; the state of an optimizer has many."""

MAX_WIDE = 1000
"""The most members of a dict that is searched there: one with more has weights or data."""

_GENERATED_ID = re.compile(r"[a-z0-9]{8}")
_MAX_ID = 10**18
_MODES = frozenset({"disabled", "required", "optional", "finished", "training"})
"""Words with the form of a generated id."""

Scope = tuple[str, Mapping[object, object]]
"""A dict that may name the run: its path, levels joined by dots, and its members."""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run that a checkpoint names.

    Attributes:
        reference: The run; its project and entity may be missing.
        key: The key that names it, levels joined by dots.
        guessed: The keys of its project and entity that may be of something else, such as `cfg.project`.
        certain: Whether the key refers to W&B; other trackers use `run_id` too, and folders have any name.
    """

    reference: RunReference
    key: str
    guessed: tuple[str, ...] = ()
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Progress:
    """The step and epoch of a checkpoint.

    Attributes:
        step: The step; None where it is unknown.
        epoch: The epoch; None where it is unknown.
        step_key: The key of the step, levels joined by dots; empty without a step.
        epoch_key: The key of the epoch; empty without an epoch.
    """

    step: int | None = None
    epoch: float | None = None
    step_key: str = ""
    epoch_key: str = ""

    def within(self, part: str) -> Progress:
        """Return the same progress with keys of a part of the checkpoint: `trainer_state.json:step`."""
        step_key, epoch_key = (key and f"{part}{key}" for key in (self.step_key, self.epoch_key))
        return replace(self, step_key=step_key, epoch_key=epoch_key)

    def completed(self, other: Progress) -> Progress:
        """Return this progress, with missing values taken from another."""
        step = self if self.step is not None else other
        epoch = self if self.epoch is not None else other
        return Progress(step.step, epoch.epoch, step.step_key, epoch.epoch_key)


def find_run(root: object, *, where: str) -> FoundRun | None:
    """Find the run that the contents of a checkpoint name; None if they name none.

    Args:
        root: A value from `read_pickle`, or parsed JSON.
        where: The name of the file, for errors.

    Raises:
        NotFoundError: A key for runs has a value that is not the name of a run.
    """
    scopes = list(_scopes(root))
    found = _certain_run(scopes, where=where) or _certain_run(list(_deep_scopes(root)), where=where)
    if found is not None:
        return found
    for key, text, members in _texts(scopes, ("run_id",)):
        # Other trackers use this key too; a value that is not a valid run id of W&B is theirs.
        with suppress(UsageError):
            return replace(_with_home(RunReference.parse(text), key, members, scopes), certain=False)
    return None


def _certain_run(scopes: Sequence[Scope], *, where: str) -> FoundRun | None:
    """Return the run at a key that refers to W&B."""
    for key, text, _ in _texts(scopes, PATH_KEYS):
        return FoundRun(_parse(text, key=key, where=where), key)
    for key, text, _ in _texts(scopes, PLAIN_PATH_KEYS, only_wandb=True):
        if "/runs/" in text or (text.count("/") in (1, 2) and text[0] not in "/.~"):
            return FoundRun(_parse(text, key=key, where=where), key)
    for keys, only_wandb in ((ID_KEYS, False), (PLAIN_ID_KEYS, True)):
        for key, text, members in _texts(scopes, keys, only_wandb=only_wandb, numbers=True):
            return _with_home(_parse(text, key=key, where=where), key, members, scopes)
    for key, text, members in _texts(scopes, ("wandb",)):
        # The value may as well be a mode, a project or a key.
        is_id = _GENERATED_ID.fullmatch(text) is not None and text not in _MODES
        if is_id or "/runs/" in text or text.count("/") == 2:
            with suppress(UsageError):
                return _with_home(RunReference.parse(text), key, members, scopes)
    return None


def run_at(root: object, key: str, *, where: str) -> FoundRun:
    """Return the run at a key that the user gave: dotted levels, or a key that contains dots.

    Raises:
        NotFoundError: There is no such key, or it names no run.
    """
    value = plain(lookup(root, key))
    if value is None:
        raise NotFoundError(
            f"{where!r} has no key {key!r}; it holds {seen_keys(root)}",
            hint="choose one with --checkpoint-key",
        )
    if isinstance(value, str) and value.strip() and members_of(value) is None:
        reference = _parse(value.strip(), key=key, where=where)
        return _with_home(reference, key, {}, list(_scopes(root)))
    run = find_run({"wandb": value}, where=where)
    if run is not None:
        return _with_home(run.reference, key, {}, list(_scopes(root)))
    raise NotFoundError(
        f"{where!r} names no run at the key {key!r}", hint="name the run with -r, or another --checkpoint-key"
    )


def find_progress(root: object) -> Progress:
    """Find the step and the epoch of a checkpoint, at its top or in a dict for its training state."""
    top = members_of(root) or {}
    scopes = [("", top)]
    scopes += [(name, found) for name in STEP_SCOPES if (found := members_of(top.get(name))) is not None]
    step, step_key = _lightning_step(top) or _first_number(scopes, STEP_KEYS)
    epoch, epoch_key = _first_number(scopes, EPOCH_KEYS)
    if step is None or step != int(step):
        return Progress(None, epoch, "", epoch_key)
    return Progress(int(step), epoch, step_key, epoch_key)


def _lightning_step(top: Mapping[object, object]) -> tuple[float, str] | None:
    if LIGHTNING_VERSION not in top:
        return None
    value: object = top
    for level in _LIGHTNING_STEPS:
        value = (members_of(value) or {}).get(level)
    number = number_of(value)
    return None if number is None else (number, ".".join(_LIGHTNING_STEPS))


def _scopes(root: object) -> Iterator[Scope]:
    """Yield the top of a checkpoint and the dicts below it that may name its run, breadth first."""
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


def _deep_scopes(root: object) -> Iterator[Scope]:
    """Yield the dicts below a checkpoint, breadth first, whatever their names are."""
    level: list[tuple[str, object]] = [("", root)]
    seen: set[int] = set()
    for _ in range(MAX_DEEP):
        deeper: list[tuple[str, object]] = []
        for name, value in level:
            if id(value) in seen or len(seen) >= MAX_VISITED:
                continue
            seen.add(id(value))
            if size_of(value) > MAX_WIDE or (members := members_of(value)) is None:
                continue
            yield name, members
            inner = islice(members.items(), MAX_VISITED - len(seen))
            deeper += (
                (_join(name, key), below)
                for key, below in inner
                if isinstance(key, str) and isinstance(below, (dict, Inert))
            )
        level = deeper


def _texts(
    scopes: Sequence[Scope], keys: Sequence[str], *, only_wandb: bool = False, numbers: bool = False
) -> Iterator[tuple[str, str, Mapping[object, object]]]:
    """Yield the texts at these keys: the path of each, the text, and the dict that contains it.

    Args:
        scopes: The dicts.
        keys: The keys.
        only_wandb: Whether only dicts whose key starts with `wandb` are searched.
        numbers: Whether whole numbers are texts too; an id may have digits alone.
    """
    for name, members in scopes:
        if only_wandb and not _is_wandb(name):
            continue
        for key in keys:
            value = plain(members.get(key))
            if numbers and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
                value = str(value) if value < _MAX_ID else None
            # A text with `${...}` is a reference of OmegaConf that was not resolved, and `???` is missing.
            if isinstance(value, str) and value.strip() and not _is_missing(value):
                yield _join(name, key), value.strip(), members


def _is_missing(text: str) -> bool:
    return "${" in text or text.strip().lower() in ("???", "none", "null")


def _with_home(
    reference: RunReference,
    key: str,
    members: Mapping[object, object],
    scopes: Sequence[Scope],
) -> FoundRun:
    """Return the run with its project and entity, from the same dict or from another.

    Args:
        reference: The run.
        key: The key that names it.
        members: The dict that has this key.
        scopes: All dicts.
    """
    own = [(key.rpartition(".")[0], members)]
    guessed: list[str] = []
    found: dict[str, str] = {}
    for name, keys, plain_keys in (
        ("project", PROJECT_KEYS, PLAIN_PROJECT_KEYS),
        ("entity", ENTITY_KEYS, PLAIN_ENTITY_KEYS),
    ):
        in_wandb = [scope for scope in scopes if _is_wandb(scope[0])]
        own_plain = [scope for scope in own if _is_wandb(scope[0])]
        certain = _first_text((own, keys), (own_plain, plain_keys), (scopes, keys), (in_wandb, plain_keys))
        home = certain or _first_text((own, plain_keys), (scopes, plain_keys))
        if getattr(reference, name) is None and home is not None:
            found[name] = home[1]
            guessed += [] if certain else [home[0]]
    return FoundRun(replace(reference, **found), key, tuple(guessed))


def _first_text(*searched: tuple[Sequence[Scope], Sequence[str]]) -> tuple[str, str] | None:
    """Return the path and the text of the first of these keys that has the name of a project or an entity."""
    for scopes, names in searched:
        for scope, members in scopes:
            for name in names:
                text = plain(members.get(name))
                if isinstance(text, str) and text and "/" not in text and not _is_missing(text):
                    return _join(scope, name), text
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
            f"{where!r} names the run {text[:200]!r} at {key!r}, which is not a run path",
            hint="name the run with -r, or another key with --checkpoint-key",
        ) from exc


def _first_number(scopes: Sequence[Scope], keys: Sequence[str]) -> tuple[float | None, str]:
    """Return the first number at these keys, and its path."""
    for name, members in scopes:
        for key in keys:
            number = number_of(members.get(key))
            if number is not None:
                return number, _join(name, key)
    return None, ""
