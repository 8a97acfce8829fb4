"""What a LiteRT file stores, for tests of its size."""

from tfkd.compression import flatbuffer


def constants(content):
    """Every constant of a file once: the tensor and its bytes."""
    model = flatbuffer.read(content)
    tensors = {tensor.buffer: tensor for graph in model.subgraphs for tensor in graph.tensors}
    stored = {index: model.buffers[index].data for index in tensors}
    return [
        (flatbuffer._tensor(model, tensors[index]), len(data))
        for index, data in stored.items()
        if data is not None and len(data)
    ]
