"""The systems that Tollway is compared with, each as its own documentation shows it.

Every module here is run by the Python of the peer's own environment (``build/peers/NAME``, locked
in ``requirements/peers``) and imports nothing of Tollway. They serve the same ONNX graph, and they
do less than Tollway: no versions, no plans, no usage records.
"""
