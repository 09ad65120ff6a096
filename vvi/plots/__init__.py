"""Arrays -> figures: one function per figure.

Computing and drawing are separate. Nothing here knows a method, a stored run or a
screen.
"""
