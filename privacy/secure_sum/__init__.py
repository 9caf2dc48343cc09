"""A sum that neither of two aggregators can look behind: each holds one half of every node's vector.

Terms are those of the IETF's Distributed Aggregation Protocol (draft-ietf-ppm-dap): a node's vector is split into two
input shares; the leader and the helper each add up theirs, and the two aggregate shares together are the sum.
"""
