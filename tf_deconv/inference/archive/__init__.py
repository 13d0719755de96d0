"""An archive of pictures restored by worker processes, on this machine or on a cluster.

The engine `beam` of `tf-deconv restore`. `driver` hands the pictures to Apache Beam and says what
became of them; `pipeline` is what Beam runs. Both take the function that restores a picture from
`inference.restore`, and know nothing of models.
"""
