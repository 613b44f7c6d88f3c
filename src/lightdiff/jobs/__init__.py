"""The training job, which is "run this folder": folders, processes, loggers, checkpoints to go on from. No Hydra."""
