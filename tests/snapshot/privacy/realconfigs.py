"""Configs as libraries write them, full of hashes, and the places where people leave a key of W&B in them.

`{hash}` is replaced by forty hexadecimal digits that are a commit or another hash, `{key}` by a key.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

HASHES: Mapping[str, Any] = {
    "Hugging Face": {
        "_commit_hash": "{hash}",
        "_name_or_path": "meta-llama/Llama-3.1-8B",
        "model/revision": "{hash}",
        "report_to": ["wandb"],
        "run_name": "llama-{hash}",
        "hub_model_id": "acme/llama",
        "wandb_project": "nano",
        "auto_map": {"AutoConfig": "acme/llama--configuration.Config"},
        "transformers_version": "4.46.0",
        "dataset": {"fingerprint": "{hash}", "builder_hash": "{hash}", "revision": "{hash}"},
        "args": {"wandb_watch": "false", "resume_from_checkpoint": "out/{hash}/checkpoint-10"},
    },
    "Lightning": {
        "trainer": {
            "logger": {
                "class_path": "lightning.pytorch.loggers.WandbLogger",
                "init_args": {"project": "nano", "id": "{hash}", "version": "{hash}", "name": "run-{hash}"},
            },
            "callbacks": [{"class_path": "ModelCheckpoint", "init_args": {"filename": "{hash}"}}],
        },
        "git": {"sha": "{hash}", "dirty": False},
        "data": {"init_args": {"checksum": "{hash}", "cache_key": "{hash}"}},
    },
    "Hydra": {
        "wandb": {
            "project": "nano",
            "group": "{hash}",
            "name": "cnn",
            "id": "{hash}",
            "tags": ["a", "{hash}"],
            "git": {"commit": "{hash}", "remote": "git@github.com:acme/nano.git"},
            "run_id": "{hash}",
            "config_hash": "{hash}",
            "dir": "/scratch/{hash}",
        },
        "hydra": {
            "job": {"config_name": "train", "override_dirname": "wandb.group={hash}"},
            "overrides": {"task": ["wandb.git.commit={hash}", "++wandb.name=x", "seed=3"]},
        },
        "data": {"sha1": "{hash}", "files": [{"path": "a.tar", "sha1": "{hash}"}]},
    },
    "W&B metadata": {
        "git": {"remote": "https://github.com/acme/nano", "commit": "{hash}"},
        "args": ["--wandb", "--commit", "{hash}", "--wandb_group", "{hash}", "--model-revision={hash}"],
        "program": "train.py",
        "codePath": "train.py",
        "_wandb": {"cli_version": "0.18.5", "code_path": "code/train.py", "git_commit": "{hash}"},
        "wandb": {"artifacts": {"model": {"digest": "{hash}", "version": "v3"}}},
    },
    "Texts": {
        "requirements": "wandb @ git+https://github.com/wandb/wandb@{hash}\ntorch==2.1 --hash=sha1:{hash}",
        "log": "wandb: Tracking run with version 0.18.5\nHEAD is now at {hash}\nwandb: git commit {hash}",
        "notes": "compare with https://github.com/wandb/wandb/commit/{hash} and run wandb sha {hash}",
        "cache": "/scratch/wandb/artifacts/obj/md5/{hash}",
    },
}

KEYS: Mapping[str, Any] = {
    "use_wandb": "{key}",
    "wandb": "{key}",
    "logger": {"wandb": {"key": "{key}"}},
    "trainer": {"loggers": [{"wandb": {"login": {"value": "{key}"}}}]},
    "args": ["--use_wandb", "{key}", "--lr", "0.1"],
    "command": "python train.py --use_wandb {key} --lr 0.1",
    "overrides": ["logger.wandb.login={key}"],
    "cell": "import wandb; wandb.login(key='{key}')",
    "dump": "{{'use_wandb': '{key}', 'lr': 0.1}}",
    "new": {"anywhere": "wandb_v1_Ab3dE5gH7jK9mN1pQ3sTuVwXyZ"},
}


def filled(template: Any, *, seed: str) -> Any:
    """Return a config with forty other hexadecimal digits for each `{hash}` and `{key}`."""
    numbers = iter(range(10_000))

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            for word in ("{hash}", "{key}"):
                while word in value:
                    digits = hashlib.sha1(f"{seed}{next(numbers)}".encode()).hexdigest()
                    value = value.replace(word, digits, 1)
            return value
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    return fill(copy.deepcopy(template))


def texts(value: Any) -> Iterator[str]:
    """Iterate over all texts of a config."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
