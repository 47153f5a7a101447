"""A figure that notebooks show as a picture, also where nothing has set matplotlib up for them."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A figure of matplotlib that a notebook shows as it is, although it was not made by `pyplot`."""

    def _repr_png_(self) -> bytes:
        """Return the figure as a notebook shows it."""
        picture = BytesIO()
        self.savefig(picture, format="png", dpi=100)
        return picture.getvalue()
