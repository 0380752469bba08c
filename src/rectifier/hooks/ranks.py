"""Which of several ranks this process is, and whether they all train the same model."""

import os

import torch.distributed as dist
from torch import nn


def rank_and_world_size() -> tuple[int, int]:
    """As torch.distributed knows it, else as the launcher said; (0, 1) for a process on its own."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def is_replica(root: nn.Module, wrapper: nn.Module | None) -> bool:
    """Whether every rank trains this model on a share of the data: DDP or FSDP over all ranks, and nothing else.

    Warning:
        Tensor parallelism gives each rank other units under the same names, and is told by its mesh.

    Args:
        root: The user's model.
        wrapper: What stands around it.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return False
    world_size = dist.get_world_size()
    meshes = [mesh for parameter in root.parameters() if (mesh := getattr(parameter, "device_mesh", None)) is not None]
    if any(mesh.ndim != 1 or mesh.size() != world_size for mesh in meshes):
        return False
    group = getattr(wrapper, "process_group", None)
    if group is not None:
        return dist.get_world_size(group) == world_size
    return bool(meshes) and any(base.__name__ == "FSDPModule" for base in type(root).__mro__)
