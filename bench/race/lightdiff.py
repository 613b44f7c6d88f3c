"""lightdiff as its recipes are: the network is told the classes."""

from racing.ours import Ours


class Lightdiff(Ours):
    with_classes = True
