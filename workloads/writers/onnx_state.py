"""An ONNX model under construction: nodes, initialisers, and the names under which tensors are channels first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from workloads.graph import Graph
    from workloads.tensor import Array, Quantization

TO_FIRST, TO_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
FIRST_AXIS = {0: 0, 1: 2, 2: 3, 3: 1}  # a channels-last axis, channels first
CONTRIBUTED = "com.microsoft"


@dataclass
class Writing:
    """State of one writing; ``inside`` maps a graph tensor to the ONNX name that holds it channels first."""

    graph: Graph
    form: str
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    inside: dict[str, str] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    @property
    def quantized(self) -> bool:
        """Whether integer layers are written."""
        return self.form != "float"

    def node(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        from onnx import helper

        name = f"{output}:{op}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, domain=domain, **attributes))
        return output

    def initializer(self, name: str, array: Array) -> str:
        """Add a constant once and return its name."""
        from onnx import numpy_helper

        if name not in self.known:
            self.known.add(name)
            self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def declared(self, name: str) -> Any:
        """Return the type of a graph input or output, as the graph has it."""
        from onnx import helper

        tensor = self.graph[name]
        element = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
        return helper.make_tensor_value_info(name, element, list(tensor.shape))

    def open_inputs(self) -> None:
        """Bring images to channels first."""
        for name in self.graph.inputs:
            self.inside[name] = name
            if len(self.graph[name].shape) == 4:
                self.inside[name] = self.node("Transpose", [name], f"{name}/channels_first", perm=TO_FIRST)

    def close_outputs(self) -> None:
        """Bring images to channels last, under the names of the graph's outputs."""
        for name in self.graph.outputs:
            if len(self.graph[name].shape) == 4:
                self.node("Transpose", [self.inside[name]], name, perm=TO_LAST)
            elif self.inside[name] != name:
                self.node("Identity", [self.inside[name]], name)

    def made(self, tensor: str) -> str:
        """Return, and remember, the ONNX name of a tensor that a layer is about to make."""
        image_output = tensor in self.graph.outputs and len(self.graph[tensor].shape) == 4
        self.inside[tensor] = f"{tensor}/channels_first" if image_output else tensor
        return self.inside[tensor]

    def value(self, tensor: str) -> str:
        """Return the ONNX name that holds an activation or constant, channels first."""
        if tensor not in self.inside:
            array = self.graph[tensor].materialize()
            self.inside[tensor] = self.initializer(tensor, array.transpose(TO_FIRST) if array.ndim == 4 else array)
        return self.inside[tensor]

    def quantization(self, tensor: str) -> Quantization:
        """Return the quantisation of an integer tensor."""
        values = self.graph[tensor].quantization
        if values is None:
            raise ValueError(f"tensor {tensor!r} has no quantisation parameters")
        return values

    def parameters(self, tensor: str) -> list[str]:
        """Return the names of scale and zero point, scalars per tensor, vectors per channel."""
        values, dtype = self.quantization(tensor), self.graph[tensor].dtype
        shape: tuple[int, ...] = () if values.scale.size == 1 else (-1,)
        return [
            self.initializer(f"{tensor}/scale", values.scale.astype(np.float32).reshape(shape)),
            self.initializer(f"{tensor}/zero_point", values.zero_point.astype(dtype).reshape(shape)),
        ]

    def real(self, tensor: str, onnx_name: str | None = None, axis: int | None = None) -> str:
        """Return the name of a tensor's real values: itself when float, else behind a DequantizeLinear."""
        name = onnx_name or self.value(tensor)
        if self.graph[tensor].quantization is None:
            return name
        along: dict[str, Any] = {} if axis is None or self.quantization(tensor).scale.size == 1 else {"axis": axis}
        output = f"{name}/real"
        if output not in self.known:
            self.known.add(output)
            self.node("DequantizeLinear", [name, *self.parameters(tensor)], output, **along)
        return output
