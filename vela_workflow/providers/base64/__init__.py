"""Base64 in templates: ``vela/base64``, which is CUE alone."""
