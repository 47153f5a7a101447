from .tracker import Neptune as Neptune
