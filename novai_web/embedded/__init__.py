"""The whole installation on one machine with one command: Postgres, Redis, web, workers and dispatcher."""
