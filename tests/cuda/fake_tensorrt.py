"""A fake TensorRT that runs ONNX Runtime.

An engine "plan" is the ONNX file behind a marker. Device addresses are host addresses, as they are
under the fake libcuda.
"""

from __future__ import annotations

import ctypes
import enum

import numpy as np
import onnxruntime

__name__ = "fake_tensorrt"  # part of the name of the engine
__version__ = "10.3.0"
MARK = b"fake plan\n"
built: list[bytes] = []  # ONNX files that builders received
timings = b"timings"  # timing cache of this GPU
refuse = 0  # number of next plans that fail to load
answer = None  # function image → outputs; None runs the model
libcuda = None  # the fake driver; None runs the model at once
_recorded: list = []  # keeps functions alive that the fake driver calls


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1


class BuilderFlag(enum.IntEnum):
    FP16 = 0
    TF32 = 7


class IProgressMonitor:
    pass


class Logger:
    WARNING = 2

    def __init__(self, level):
        pass


class Builder:
    def __init__(self, logger):
        pass

    def create_network(self, flags):
        assert flags == 3
        return {}

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        assert config.profiles[0].shapes[1][0] == "image"
        if config.progress_monitor:
            config.progress_monitor.phase_start("Building engine", None, 2)
            for step in range(2):
                if not config.progress_monitor.step_complete("Building engine", step):
                    return None
            config.progress_monitor.phase_finish("Building engine")
        return MARK + network["onnx"]


class Profile:
    def set_shape(self, *shapes):
        assert all(side % 32 == 0 for shape in shapes[1:] for side in shape[2:])
        self.shapes = (None, shapes)


class Config:
    progress_monitor = None

    def __init__(self):
        self.profiles, self.timings = [], None

    def set_memory_pool_limit(self, pool, size):
        pass

    def clear_flag(self, flag):
        pass

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)

    def create_timing_cache(self, content):
        return Cache(content or timings)

    def set_timing_cache(self, cache, ignore_mismatch):
        """Refuse timings of another GPU, as TensorRT does."""
        if cache.content != timings and not ignore_mismatch:
            return False
        self.timings = cache
        return True

    def get_timing_cache(self):
        return self.timings


class Cache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content


class OnnxParser:
    num_errors = 1

    def __init__(self, network, logger):
        self.network = network

    def parse(self, text):
        built.append(text)
        self.network["onnx"] = text
        return len(text) > 100

    def get_error(self, index):
        return "not a model"


class Runtime:
    def __init__(self, logger):
        pass

    def deserialize_cuda_engine(self, plan):
        global refuse
        if refuse or not plan.startswith(MARK):
            refuse -= 1
            return None
        return Engine(plan[len(MARK) :])


class Engine:
    def __init__(self, text):
        self.session = onnxruntime.InferenceSession(text, providers=["CPUExecutionProvider"])

    def get_tensor_dtype(self, name):
        return DataType.FLOAT

    def create_execution_context(self):
        return Context(self.session)


class Context:
    def __init__(self, session):
        self.session, self.shape, self.at = session, None, {}

    def set_input_shape(self, name, shape):
        self.shape = tuple(shape)
        return name == "image"

    def get_tensor_shape(self, name):
        height, width = self.shape[2:]
        return {
            "image": self.shape,
            "fields": (1, 188, height // 8, width // 8),
            "seg": (1, 1, height // 2, width // 2),
        }[name]

    def set_tensor_address(self, name, address):
        self.at[name] = address
        return True

    def execute_async_v3(self, stream):
        assert stream
        views = {name: self._view(name) for name in ("image", "fields", "seg")}

        def work(_=None):
            image = views["image"]
            outputs = answer(image) if answer else self.session.run(None, {"image": image})
            for name, value in zip(("fields", "seg"), outputs, strict=True):
                views[name][:] = value

        if libcuda is None:
            work()
            return True
        function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work)
        _recorded.append(function)
        return libcuda.cuLaunchHostFunc(ctypes.c_void_p(stream), function, None) == 0

    def _view(self, name):
        shape = self.get_tensor_shape(name)
        kind = ctypes.c_float * int(np.prod(shape))
        return np.ctypeslib.as_array(kind.from_address(self.at[name])).reshape(shape)
