"""Heavy and foreign work behind plain functions; engines know nothing of accounts, jobs or pages."""
