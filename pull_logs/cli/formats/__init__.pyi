from .choice import FORMATS as FORMATS
from .choice import Choice as Choice
from .choice import format_options as format_options
from .choice import take_choice as take_choice
from .drawing import draw_sections as draw_sections
from .markdown import markdown_text as markdown_text
