"""The operator: kopf handlers, the queue of runs, Events; where the program is put together."""
