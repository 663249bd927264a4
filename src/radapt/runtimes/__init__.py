"""Runtimes: networks computed by PyTorch, ONNX Runtime or OpenVINO, behind one call.

A network is any module of tensors, with the batch as the first axis of all inputs and outputs. Code that computes one
hands it to a `Runner` by a name; the runner computes it in PyTorch and records the call (`runner.Recorder`), or by a
graph that was converted before (`graphs.GraphFolder`), or converts it when it is first needed (`graphs.GraphCache`).
"""
