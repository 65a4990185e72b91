"""HTTP requests: ``vela/http``.

``request`` reads the arguments, ``tls`` and ``limiter`` do what their names say, ``exchange`` sends the request and
tells what became of it, ``package`` has the table.
"""
