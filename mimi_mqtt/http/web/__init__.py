"""The web app: the files that `scripts/web` builds from the sources in `web/`, and the routes that
serve them.

The app itself is a client of the REST API and of its event stream, and of nothing else.
"""
