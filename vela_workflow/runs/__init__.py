"""One run: load, plan, execute, fold, write once; its context, its journal, what its users ask for."""
