from .against_wandb import AskOptions as AskOptions
from .against_wandb import prove_against_wandb as prove_against_wandb
from .verdicts import PARTS as PARTS
from .verdicts import BundleProof as BundleProof
from .verdicts import PartProof as PartProof
from .verdicts import RunProof as RunProof
from .verdicts import Verdict as Verdict
