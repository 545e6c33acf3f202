"""Every op in plain, slow, readable Python and NumPy: the specification that tests hold ops to."""
