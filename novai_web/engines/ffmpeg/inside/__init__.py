"""What runs in the child process, and nowhere else: everything that reads, decodes, draws or encodes."""
