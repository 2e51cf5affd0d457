"""The paper as pure functions on tensors: no flags, no variables, no input or output.

`plain` is the executable paper; the other modules say the same as they train.

Where an equation averages over a batch, the batch is the global one. A function that needs a sum
over it takes `global_sum`, which adds up a tensor over all replicas; on one device it is `local`.
Losses come back as this replica's part: the sum of the parts over all replicas is the loss, which
is what gradients that are summed over replicas need.
"""
