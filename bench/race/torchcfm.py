"""TorchCFM without classes: its notebook on MNIST, and its script on CIFAR-10."""

from racing.flow import TorchCFM


class TorchCFMWithoutClasses(TorchCFM):
    recipe = (
        "examples/images/mnist_example.ipynb: OT-CFM, UNetModel(num_channels=32, num_res_blocks=1), Adam at 1e-3, batches of "
        "128; examples/images/cifar10/train_cifar10.py: OT-CFM, 128 channels, Adam at 2e-4, average with decay 0.9999"
    )
    changed = (
        "fashion takes the recipe of mnist; bfloat16; on cifar the warm-up has its share of the minutes (5,000 of 400,001 "
        "steps), and the decay of the average begins at (1 + n) / (10 + n); 20 Euler steps instead of dopri5"
    )
