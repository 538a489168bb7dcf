"""Shapes that more than one group of endpoints speaks."""

from typing import Any

from pydantic import RootModel


class Anything(RootModel[dict[str, Any]]):
    """A JSON object that is checked by the tool it is for."""
