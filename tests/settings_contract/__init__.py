"""Each setting of gunicorn's has the effect that the table says, shown with a real gunicorn."""
