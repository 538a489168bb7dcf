"""What is raised for bytes that are not what they claim to be."""


class Malformed(ValueError):
    """The bytes are not what they claim to be. The message is a clause that reads after "because"."""
