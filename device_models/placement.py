"""Placement: what a network takes of a device's memories with a runtime, and where its tensors lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from device_models.costing import layer_kernel
from device_models.library_memory import library_of, network_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device_models.device import Device
    from device_models.library_memory import NetworkMemory
    from device_models.memory import Working
    from workloads.graph import Graph

GENERATED = "generated"


def placed(graph: Graph, runtime: str, scratch: Mapping[str, int]) -> NetworkMemory:
    """Return the memory of a prepared network with a runtime; one whose memory is unknown is laid out as our own.

    Parameters
    ----------
    scratch
        Working memory that our own Programs take, by layer. [B]
    """
    if runtime != GENERATED and library_of(runtime) is not None:
        return network_memory(graph, runtime)
    return network_memory(graph, GENERATED, scratch)


def scratch_of(graph: Graph, device: Device, working: Working) -> dict[str, int]:
    """Return the working memory of the Programs generated for a prepared network, by layer. [B]"""
    kernels = ((layer.name, layer_kernel(graph, layer, device, working)) for layer in graph.layers)
    return {name: kernel.scratch_bytes for name, kernel in kernels if kernel is not None}
