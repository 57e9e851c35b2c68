"""The projections in plain torch: their definition, for any device and dtype, with gradients.

Each takes what its kernel takes (see `kernel`), as tensors.
"""
