"""Published and exact results beside our own measurement of them, and whether they agree.

One file a result: what is known, and the computation that measures it again. Nothing here is quoted from an earlier
run of ours as if it had just been measured.
"""
