"""An archive of pictures restored by worker processes, on this machine or on a cluster.

The engine `beam` of `tf-deconv restore`. `driver` plans, starts Apache Beam in a process of its own
(`pipeline`) and tells the user what comes back; a `worker` restores, by the function that the
engine `local` uses; they know of each other by files (`records`).
Nothing is imported here: the pipeline's process needs no TensorFlow, which takes 0.5 GB.
"""
