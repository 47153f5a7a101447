"""Other ways in: which run a checkpoint belongs to, and runs that lie in local W&B folders.

    checkpoint file -> contents | distributed -> layouts -> runkeys -> checkpoints -> a reference to a run
    patterns of files -> checkpointsearch -> checkpoints
    run folders -> rundirs -> transactionlog -> logschema -> logitems -> runlog -> localruns -> a bundle

`pickles` reads what a pickle holds without running it (`pickleglobals` knows
which names mean harm), `contents` a file of any format, `layouts` how tools lay
checkpoints out; `runkeys` has the names under which people write their run. `transactionlog` is the framing of a `.wandb` log, `logschema` and
`logitems` its records, `metricdefs` the metrics that it defines, `runlog` one log, and `localruns` puts the logs of a
run together.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
