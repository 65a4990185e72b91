"""E-mail: ``vela/email``. ``send`` has the code, ``package`` the table."""
