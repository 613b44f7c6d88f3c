"""TorchCFM with classes: its notebook on MNIST by class."""

from racing.flow import TorchCFM


class TorchCFMWithClasses(TorchCFM):
    recipe = (
        "examples/images/conditional_mnist.ipynb: CFM, UNetModel(num_channels=32, num_res_blocks=1, class_cond=True), Adam at "
        "1e-3, batches of 128"
    )
    changed = "fashion takes the recipe of mnist; bfloat16; 20 Euler steps instead of dopri5"
    data = ("mnist", "fashion")
    with_classes = True
