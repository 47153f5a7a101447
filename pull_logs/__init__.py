"""Download many Weights & Biases runs, complete and unsampled, into one verified file; read it anywhere.

    import pull_logs

    bundle = pull_logs.open_bundle("sweep.wandb.zip")
    run = bundle["acme/nano/3fk2a"]
    run.config, run.summary, run.history(columns=["train/loss"])

Names are loaded when they are first used. Importing the package, and commands that do not need them, do not
import pandas, pyarrow or httpx.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
