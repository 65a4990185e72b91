"""Configurations: ``vela/config``.

A configuration is a set of properties that is kept in a Secret; a template (CUE in a ConfigMap) may shape that Secret,
check the properties and add further objects. ``storage`` knows the format, ``templates`` renders, ``operations`` has
the code of the operations, ``package`` the table.
"""
