# The front door; `make` alone lists what there is. On Debian 12 each target first installs those of
# the packages it needs that are missing (packaging/packages.txt).

PREFIX ?= /usr/local
PYTHON := /usr/bin/python3
# From the command line only: some environments have variables of these names.
given = $(if $(filter command%,$(origin $(1))),$($(1)))

.PHONY: help run test test-full bench lint fuzz install clean build-release build-asan build-fuzz

help:
	@echo 'make run                a hub and five devices on this machine, from factory to revocation;'
	@echo '                        stays up until Ctrl-C (with ONCE=1: ends after the story)'
	@echo 'make test               everything that is checked, on the sanitizer build'
	@echo 'make test-full          the same, and what takes longer'
	@echo 'make bench [NAME=x]     measures, with the peers in the same run'
	@echo 'make lint               the rules of the house alone'
	@echo 'make fuzz [SECONDS=60]  each fuzzer for so long'
	@echo 'make install            below PREFIX ($(PREFIX)), and DESTDIR where it is given'
	@echo 'make clean              removes build/; what `make run` keeps is in run/'

run:
	@packaging/setup.sh build run
	@$(MAKE) -s build-release
	@ONCE=$(call given,ONCE) tools/story.sh

test:
	@packaging/setup.sh build run test
	@$(PYTHON) -B tests/run.py

test-full:
	@packaging/setup.sh build run test
	@$(PYTHON) -B tests/run.py --full

bench:
	@packaging/setup.sh build run bench
	@$(MAKE) -s build-release
	@$(call ninja,build/release,bench-programs)
	@$(PYTHON) -B bench/run.py $(call given,NAME)

lint:
	@packaging/setup.sh build test
	@$(MAKE) -s build-release
	@$(PYTHON) -B tools/lint/lint.py

fuzz:
	@packaging/setup.sh build test
	@$(MAKE) -s build-fuzz
	@tools/fuzz.sh $(or $(call given,SECONDS),60)

install:
	@packaging/setup.sh build
	@$(MAKE) -s build-release
	@meson configure build/release -Dprefix='$(PREFIX)' -Dsysconfdir=/etc -Dlocalstatedir=/var >/dev/null
	@$(call ninja,build/release)
	@meson install -C build/release --no-rebuild --quiet --strip --destdir '$(DESTDIR)'
	@echo 'Installed. Next, as root: systemd-sysusers && systemd-tmpfiles --create holdfast.conf,'
	@echo 'then /etc/holdfast/hub.conf says how to make the keys; then systemctl start holdfast-hub.'

clean:
	rm -rf build

# ---- builds: Meson sets them up once, Ninja knows what is out of date

define configure
	@mkdir -p $(@D) && { meson setup $(@D) $(1) >$(@D)/setup.log 2>&1 || { cat $(@D)/setup.log; exit 1; }; }
endef
# Meson once more where its files have changed, then the rest; says nothing unless it fails.
ninja = { ninja -C $(1) build.ninja && ninja -C $(1) $(2); } >$(1)/build.log 2>&1 || \
    { cat $(1)/build.log; exit 1; }
sanitizers := -Db_sanitize=address,undefined -Dsanitize=true --buildtype=debugoptimized

build/release/build.ninja:
	$(call configure,--buildtype=release -Dtests=false --prefix='$(PREFIX)' --sysconfdir=/etc \
	    --localstatedir=/var)
build-release: build/release/build.ninja
	@$(call ninja,build/release)

build/asan/build.ninja: export CC = gcc
build/asan/build.ninja:
	$(call configure,$(sanitizers))
build-asan: build/asan/build.ninja
	@$(call ninja,build/asan,-k 0)

# Not all of it: what the fuzzers need.
build/fuzz/build.ninja: export CC = clang
build/fuzz/build.ninja:
	$(call configure,$(sanitizers) -Db_lundef=false -Dc_args=-fsanitize=fuzzer-no-link -Dfuzz=true \
	    -Dtests=false)
build-fuzz: build/fuzz/build.ninja
	@$(call ninja,build/fuzz,-k 0 fuzzers)
