from .gates import Gate as Gate
from .gates import run_gate as run_gate
