from .choice import ENGINES as ENGINES
from .choice import open_engine as open_engine
from .engine import SERIAL as SERIAL
from .engine import Engine as Engine
from .engine import engine_of as engine_of
from .processors import processors as processors
