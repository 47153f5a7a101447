"""Pull many Weights & Biases runs, whole and unsampled, into one verified file; read it anywhere.

    import pull_logs

    bundle = pull_logs.open_bundle("sweep.wandb.zip")
    run = bundle["acme/nano/3fk2a"]
    run.config, run.summary, run.history(columns=["train/loss"])

Names are loaded when they are first used, so that importing the package, and
every command that does not need them, stays free of pandas, pyarrow and httpx.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
