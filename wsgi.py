"""What gunicorn and `flask` load."""

from novai_web.app import create_app

app = create_app()
