from .definitions import TOOLS as TOOLS
from .definitions import Tool as Tool
from .questions import Answered as Answered
from .questions import ask as ask
from .server import HttpAddress as HttpAddress
from .server import make_server as make_server
from .server import serve_http as serve_http
from .server import serve_stdio as serve_stdio
