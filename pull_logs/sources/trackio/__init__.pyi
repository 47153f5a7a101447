from .tracker import Trackio as Trackio
