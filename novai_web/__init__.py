"""NOVAI: a self-hosted AI content studio."""

__version__ = "0.1.0"
