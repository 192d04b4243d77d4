"""The explorer: a local web app over stored runs, and its JSON twins.

``create_app`` needs the extra ``web`` (FastAPI, uvicorn).
"""

from cofire.web.app import create_app

__all__ = ["create_app"]
