"""Operations that somebody else carries out: packages from ``cue.oam.dev Package`` objects (ops 8.2).

Such an object brings CUE definitions under an import path of its own, and names a service; an operation of the package
is one POST of its parameters to that service. ``package`` makes a package of an object.
"""
