"""Arrays -> figures: one function per figure.

Computing and drawing are separate; no method, no stored run and no screen is known
here.
"""
