"""How gunicorn serves NOVAI wherever it is started: by `make run`, in a container, or by hand."""

from novai_web.config import Settings

settings = Settings.read()

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
worker_class = "gthread"
workers = 2
threads = 8
keepalive = 30  # longer than the longest pause between two polls of a page
graceful_timeout = 8
control_socket_disable = True
