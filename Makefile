# `make help` lists the targets. Everything is installed into .venv, with the versions in
# constraints.txt. Where ROS 2 is sourced (ROS_DISTRO is set) its own rclpy is used, elsewhere the
# ROS 2 Jazzy wheels.

PYTHON ?= python3
SOURCE ?=
MODEL ?=
TESTS ?= tests
TORCH_INDEX ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := install
.PHONY: help install demo test lint docs mutants bench soak test-cuda-sim gpu-check clean

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
FETCH := $(BIN)/python -c 'import sys; from kdc_ros.demo_clip import fetch; \
         print(fetch(lambda line: print(line, file=sys.stderr)))'
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
MSGS := kdc_msgs/CMakeLists.txt kdc_msgs/package.xml kdc_msgs/into_venv.sh $(wildcard kdc_msgs/msg/*.msg)

ifdef ROS_DISTRO
VENV_OPTIONS := --system-site-packages
EXTRAS :=
# libraries and index of kdc_msgs, which is installed beside the sourced ROS 2
RUN := env AMENT_PREFIX_PATH="$(CURDIR)/$(VENV):$$AMENT_PREFIX_PATH" \
       LD_LIBRARY_PATH="$(CURDIR)/$(VENV)/lib:$${LD_LIBRARY_PATH:-}" $(BIN)/python
else
VENV_OPTIONS :=
EXTRAS := [ros]
RUN := $(BIN)/python
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  SOURCE=0            webcam or video for demo and bench; MODEL=FILE: another network"
	@echo "  TESTS=tests/ros     only some of the tests"
	@echo "  SAMPLE=100 SEED=1   some mutants only, chosen at random; ONLY=kdc_core/track: of these modules"
	@echo "  PYTHON=python3.12   the Python of .venv"
	@echo "  TORCH_INDEX=URL     a package index for torch alone, such as PyTorch's CPU builds"

install: $(STAMPS)/kdc $(STAMPS)/msgs ## install KDC into .venv (default)
	@echo "ready: source $(VENV)/bin/activate; kdc doctor"

demo: $(STAMPS)/kdc $(STAMPS)/msgs ## camera, node and recorder over DDS; writes out/demo.mp4
	@$(RUN) -m kdc_ros.demo $(if $(SOURCE),--source "$(SOURCE)") $(if $(MODEL),--model "$(MODEL)")

test: $(STAMPS)/test $(STAMPS)/gpu-test $(STAMPS)/msgs ## run all tests that need no GPU
	@$(RUN) -m pytest -q $(TESTS)

test-cuda-sim: $(STAMPS)/test $(STAMPS)/gpu-test ## run the GPU code over a fake GPU; needs a CUDA toolkit
	@$(BIN)/python -c 'import pycuda' 2>/dev/null || { \
	  echo "[6] PyCUDA from its source (about 2 minutes)"; $(BIN)/python tests/cuda/build_pycuda.py; }
	@$(RUN) -m pytest -q tests/cuda

gpu-check: $(STAMPS)/kdc $(STAMPS)/gpu ## on a GPU: compare with the CPU, measure, write docs/reports/gpu_results.md
	@$(BIN)/python -m tools.gpu_check.check --sanitize --model \
	  kdc_core/weights/kdc_lite.onnx --out docs/reports/gpu_results.md

# all packages are installed, because their types change what mypy finds
lint: $(STAMPS)/test ## check format, types, spelling and wording
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(RUN) -m pytest -q tests/docs

mutants: $(STAMPS)/mutants $(STAMPS)/msgs ## change the code at random, and see whether the tests notice
	@$(RUN) tools/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ONLY),--only $(ONLY))

docs: $(STAMPS)/docs ## build the documentation into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

# minutes-long measurements (KDC_SOAK_SECONDS=60 shortens the longest one), and a colcon build
soak: $(STAMPS)/test $(STAMPS)/msgs $(STAMPS)/colcon ## run the long measurements and a colcon build
	@KDC_COLCON="$(CURDIR)/$(VENV)/colcon" $(RUN) -m pytest -q -s \
	  tests/ros/test_colcon.py tests/soak/soak_*.py

# on the demo's clip, for the decoder's time depends on how many people there are
bench: $(STAMPS)/kdc ## measure the speed on this machine
	@source="$(SOURCE)"; $(BIN)/kdc bench $(if $(MODEL),--model "$(MODEL)") "$${source:-$$($(FETCH))}"

clean: ## delete .venv, build and out
	rm -rf $(VENV) build out *.egg-info

$(STAMPS)/venv:
	@echo "[1] virtual environment $(VENV)$(if $(ROS_DISTRO), beside ROS 2 $(ROS_DISTRO))"
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 10) <= v < (3, 13) else \
	  f"expected Python 3.10 to 3.12, got {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV_OPTIONS) $(VENV) >/dev/null || { \
	  $(PYTHON) -m venv --without-pip $(VENV_OPTIONS) $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install -qq pip; }  # Debian without python3-venv
	@mkdir -p $(STAMPS)
	@touch $@

# A ROS 2 that was built against numpy 1 does not load beside numpy 2.
$(STAMPS)/constraints.txt: $(STAMPS)/venv constraints.txt constraints-numpy1.txt
	@if $(BIN)/python -c 'import numpy, sys; sys.exit(numpy.__version__ >= "2")' 2>/dev/null; then \
	  cut -d= -f1 constraints-numpy1.txt | grep -v '^#' | sed 's/$$/==/; s/^/^/' > $@.names; \
	  { grep -vf $@.names constraints.txt; cat constraints-numpy1.txt; } > $@; \
	else cp constraints.txt $@; fi

$(STAMPS)/kdc: $(STAMPS)/constraints.txt setup.py
	@echo "[2] KDC$(if $(EXTRAS), and the ROS 2 wheels) (first time: about a minute)"
	@$(PIP) -c $(STAMPS)/constraints.txt 'setuptools<80' wheel
	@$(PIP) -c $(STAMPS)/constraints.txt --no-build-isolation -e '.$(EXTRAS)'
	@touch $@

$(STAMPS)/msgs: $(STAMPS)/kdc $(MSGS)
	@echo "[3] messages kdc_msgs (about 10 seconds)"
	@kdc_msgs/into_venv.sh $(VENV) build/kdc_msgs
	@touch $@

$(STAMPS)/test: $(STAMPS)/kdc
	@echo "[4] packages for training and tests (first time: a few minutes)"
	@$(PIP) -c $(STAMPS)/constraints.txt torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	@$(PIP) -c $(STAMPS)/constraints.txt --no-build-isolation -e '.[train,replay,synth,supervision,test]'
	@touch $@

$(STAMPS)/mutants: $(STAMPS)/test
	@$(PIP) -c $(STAMPS)/constraints.txt cosmic-ray
	@touch $@

# Tests that need these say so and are skipped: not every machine and Python has the wheels.
$(STAMPS)/gpu-test: $(STAMPS)/test
	@echo "[5] TensorRT's builder and interfaces, for tests without a GPU (about 200 MB)"
	@$(PIP) -c $(STAMPS)/constraints.txt --no-build-isolation -e '.[gpu-test]' || \
	  echo "    not to be had here: some GPU tests will be skipped"
	@for wanted in tensorrt-bindings==8.6.1 tensorrt-cu12-bindings==10.16.1.11 \
	  tensorrt-cu13-bindings==11.4.0.106; do \
	  $(BIN)/python -m pip download -qq --disable-pip-version-check --no-deps \
	    -d $(VENV)/trt_wheels $$wanted 2>/dev/null || echo "    without $$wanted"; done
	@ls $(VENV)/trt_wheels/*.whl >/dev/null 2>&1 && touch $@ || true  # offline: tried again

# PyCUDA is compiled here, and finds CUDA by nvcc's place. TensorRT: README, "On a GPU".
$(STAMPS)/gpu: $(STAMPS)/kdc
	@echo "[+] PyCUDA, from its source (about 2 minutes)"
	@PATH="$$PATH:/usr/local/cuda/bin" $(PIP) -c $(STAMPS)/constraints.txt pycuda onnx
	@touch $@

# beside the environment and not in it: colcon brings packages that nothing else needs
$(STAMPS)/colcon: $(STAMPS)/constraints.txt
	@$(PIP) --target $(VENV)/colcon 'setuptools<80' colcon-core colcon-bash colcon-cmake \
	  colcon-python-setup-py colcon-ros
	@touch $@

$(STAMPS)/docs: $(STAMPS)/test
	@echo "[+] packages for the documentation"
	@$(PIP) -c $(STAMPS)/constraints.txt --no-build-isolation -e '.[docs]'
	@touch $@
