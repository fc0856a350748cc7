"""Helper package of *The Mechanics of Learning*.

Chapters import from here; nothing heavy is imported by ``import course`` alone. The folders
(``course.ntk``, …) are the parts of the book; the modules beside them are shared by all parts.
"""

__version__ = "0.1.0"
