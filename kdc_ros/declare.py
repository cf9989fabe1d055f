"""Declare parameters on a node, with what ``ros2 param describe`` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from kdc_ros.params import Described, NodeConfig, as_value, described


def declare_all(node: Node, parameters: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    """Declare parameters and return their values by name.

    Args:
        node: the node that gets them.
        parameters: (default, description) by name.
    """
    return {
        name: node.declare_parameter(name, default, ParameterDescriptor(description=text)).value
        for name, (default, text) in parameters.items()
    }


def declare_node_config(node: Node) -> NodeConfig:
    """Declare every parameter of ``NodeConfig`` and return the values that the user has set.

    Raises:
        InputError: a value is outside its range or not among its choices.
    """
    values = {
        row.name: as_value(node.declare_parameter(row.name, row.default, _descriptor(row)).value)
        for row in described()
    }
    return NodeConfig(**values)


def _descriptor(row: Described) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=row.description)
    if row.choices:
        descriptor.additional_constraints = "one of " + ", ".join(row.choices)
    if row.low is not None and row.kind is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=row.low, to_value=row.high)
        ]
    elif row.low is not None:
        descriptor.integer_range = [IntegerRange(from_value=row.low, to_value=row.high, step=1)]
    return descriptor
