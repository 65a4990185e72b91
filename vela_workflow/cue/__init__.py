"""CUE: template text and data in, values out. The only place that starts the ``cue`` command; knows no Kubernetes."""
