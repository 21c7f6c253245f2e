"""Policy on the rules of `market`: which checks there are, how severe, and whether they block.

Assets evaluate their own checks in the step that wrote the partition, so that no way of running
them leaves a check out; this layer is therefore below `assets`.
"""
