"""Operations that steer the step itself: ``vela/builtin``.

They act on nothing outside. Most of them are a word to the step (wait, suspend, fail, …), which is a value in the
outcome and no error. ``package`` has the table.
"""
