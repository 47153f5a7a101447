from .answer import SetAnswer as SetAnswer
from .answer import SetChange as SetChange
from .answer import add_changes as add_changes
from .answer import compact_changes as compact_changes
from .answer import set_object as set_object
from .answer import set_sections as set_sections
from .answer import waiting_note as waiting_note
