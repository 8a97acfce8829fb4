"""A student behind HTTP: TensorFlow Serving's REST contract, answered from the LiteRT file."""
