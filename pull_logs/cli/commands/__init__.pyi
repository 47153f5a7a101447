from .examples import EXAMPLES as EXAMPLES
from .examples import add_examples as add_examples
