"""tfkd distils and quantizes text classifiers, and proves what it cost.

The verbs of the command line are functions here, each with its settings: `tfkd.distill("ag_news",
epochs=3)`. Beside them stand the parts they are made of, for those who bring their own models. A
name is imported when it is first asked for, so `import tfkd` is quick and loads no TensorFlow.
"""

import lazy_loader

# A plain literal: setuptools reads it without importing the package.
__version__ = "0.1.0"

# The names and their homes stand in __init__.pyi, where type checkers find them, too.
_imported, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """A public name, imported now; Keras is settled before its home imports it."""
    if name in __all__:
        from tfkd.keras_environment import settle_for

        settle_for(name)
    return _imported(name)


__all__ += ["__version__"]
