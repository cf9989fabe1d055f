# make install | demo | test | lint | bench
# Everything is installed into .venv, with the versions in constraints.txt. Where ROS 2 is sourced
# (ROS_DISTRO is set) its own rclpy is used, elsewhere the ROS 2 Jazzy wheels.
#   make demo SOURCE=0        a webcam instead of the clip of walking people
#   make test TESTS=tests/ros only some tests
#   make install PYTHON=python3.12
#   make test TORCH_INDEX=URL a package index for torch alone, such as PyTorch's CPU builds

PYTHON ?= python3
SOURCE ?=
MODEL ?=
TESTS ?= tests
TORCH_INDEX ?=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: install demo test lint bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
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

install: $(STAMPS)/kdc $(STAMPS)/msgs
	@echo "ready: source $(VENV)/bin/activate; kdc doctor"

demo: $(STAMPS)/kdc $(STAMPS)/msgs
	@$(RUN) -m kdc_ros.demo $(if $(SOURCE),--source "$(SOURCE)") $(if $(MODEL),--model "$(MODEL)")

test: $(STAMPS)/test $(STAMPS)/msgs
	@$(RUN) -m pytest -q $(TESTS)

lint: $(STAMPS)/lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy kdc_core/types.py kdc_core/decode

bench: $(STAMPS)/kdc
	@$(BIN)/kdc bench

clean:
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
	@$(PIP) -c $(STAMPS)/constraints.txt --no-build-isolation -e '.[train,test]'
	@touch $@

$(STAMPS)/lint: $(STAMPS)/constraints.txt
	@$(PIP) -c $(STAMPS)/constraints.txt numpy ruff mypy
	@touch $@
