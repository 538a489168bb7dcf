"""The library: videos, audios, images, hooks and collections of one account."""
