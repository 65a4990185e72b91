"""Dates and time stamps: ``vela/time``. ``layout`` knows Go's layouts, ``package`` has the table."""
