"""One step: render, act, render again, until it is done, waits or fails."""
