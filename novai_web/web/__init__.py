"""What the doors share: who is asking, how often they may, and how an answer is protected."""
