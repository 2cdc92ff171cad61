# What one does here, each a target. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help run rush token test lint invoke api-test openapi validate build size smoke reproduce deploy teardown tools clean

PORT ?= 9000
# Any does: validation reads nothing there, and the linter wants to know whose rules apply.
REGION ?= eu-central-1
# Which part of samconfig.toml is deployed.
ENV ?= dev
export SAM_CLI_TELEMETRY = 0

# Outside the project, so that `make clean` does not fetch half a gigabyte again.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/event-ticket-functions/tools
CARGO_LAMBDA := 1.9.2
SAM := 1.170.0
ZIG := 0.17.1
CHECKOV := 3.3.30
SCHEMATHESIS := 4.32.5
TOOLS_READY := $(TOOLS)/.cargo-lambda-$(CARGO_LAMBDA)-sam-$(SAM)
WITH_TOOLS := PATH="$(TOOLS)/bin:$$PATH"

# What template.yaml is made of besides itself.
TEMPLATES := $(filter-out deploy/checkov.yaml,$(sort $(wildcard deploy/*.yaml)))

# By --bin and without -p: features are then resolved for the whole workspace, as in `cargo test`, and the AWS clients
# are not compiled a second time.
LOCAL := cargo run --bin local --

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

run: ## The whole system on http://127.0.0.1:9000 with two venues on sale (PORT=…)
	@scripts/prerequisites redis
	$(LOCAL) serve --port $(PORT) $(patsubst %,--event %,$(sort $(wildcard local/venues/*.json)))

rush: ## An on-sale against a system of its own, ends in a table (ARGS="--customers 2000 --seats 500")
	@scripts/prerequisites redis
	$(LOCAL) rush $(ARGS)

token: ## A token for the local API (CUSTOMER=ada SCOPE=tickets/admin)
	@cargo run -q --bin local -- token --customer $(or $(CUSTOMER),ada) $(addprefix --scope ,$(SCOPE))

test: ## Every test, on the embedded servers and on Apache Kafka and DynamoDB Local
	@scripts/prerequisites redis java
	@echo "cargo test: builds first, which from nothing takes some minutes; then unit tests, then tests/ on both server sets"
	cargo test --workspace

lint: ## Formatting, clippy, and the dependencies' licences where cargo-deny is installed
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: licences and bans not checked (cargo install --locked cargo-deny)"; fi

invoke: $(TOOLS_READY) ## Every events/*.json through `cargo lambda invoke`, against events/golden (UPDATE=1 rewrites it)
	@scripts/prerequisites redis python
	$(WITH_TOOLS) scripts/invoke $(if $(UPDATE),--update)

api-test: $(TOOLS)/.schemathesis-$(SCHEMATHESIS) ## The whole API as /openapi.json describes it, by schemathesis (SEED=…)
	@scripts/prerequisites redis python
	cargo build --workspace --bins
	PATH="$(TOOLS)/schemathesis/bin:$$PATH" scripts/api-test $(SEED)

openapi: ## Renews docs/openapi.json, which a test compares with the code
	cargo run -q --bin local -- openapi > docs/openapi.json

validate: $(TOOLS_READY) $(TOOLS)/.checkov-$(CHECKOV) ## The templates, by SAM, cfn-lint and checkov; asks no account
	$(WITH_TOOLS) sam validate --lint --region $(REGION)
	$(WITH_TOOLS) cfn-lint --regions $(REGION) -- $(TEMPLATES)
	"$(TOOLS)/checkov/bin/checkov" --config-file deploy/checkov.yaml --file template.yaml $(TEMPLATES)

build: $(TOOLS)/.zig-$(ZIG) ## The three functions for arm64 into target/lambda, and the templates into .aws-sam
	$(WITH_TOOLS) scripts/package
	$(WITH_TOOLS) sam build

size: build ## What the packages weigh, against a bare echo function
	$(WITH_TOOLS) "$(TOOLS)/bin/python" scripts/size

smoke: build ## The packages under QEMU, against the local system, to their golden answers
	@scripts/prerequisites redis python qemu
	scripts/smoke

reproduce: build ## Builds the packages once more elsewhere: the same bytes
	$(WITH_TOOLS) scripts/reproduce

deploy: build ## Builds, and makes or changes the stack that samconfig.toml has under ENV=dev or ENV=prod
	$(WITH_TOOLS) sam deploy --config-env $(ENV)

teardown: ## Deletes the stack of ENV; the table and the user pool stay, and topics in a cluster that is yours
	$(WITH_TOOLS) sam delete --config-env $(ENV)

tools: $(TOOLS_READY) $(TOOLS)/.checkov-$(CHECKOV) $(TOOLS)/.schemathesis-$(SCHEMATHESIS) ## cargo-lambda, the SAM CLI, checkov and schemathesis, in environments of their own

# --no-deps leaves out zig (400 MB), which only `make build` needs.
$(TOOLS_READY):
	@scripts/prerequisites python
	@echo "cargo-lambda $(CARGO_LAMBDA) and SAM CLI $(SAM) into $(TOOLS), once (about a minute)"
	python3 -m venv "$(TOOLS)"
	"$(TOOLS)/bin/pip" install -q --disable-pip-version-check --no-deps cargo-lambda==$(CARGO_LAMBDA)
	"$(TOOLS)/bin/pip" install -q --disable-pip-version-check aws-sam-cli==$(SAM)
	@touch "$@"

$(TOOLS)/.zig-$(ZIG): $(TOOLS_READY)
	"$(TOOLS)/bin/pip" install -q --disable-pip-version-check ziglang==$(ZIG)
	@touch "$@"

# In an environment of its own: it wants another release of the AWS libraries than the SAM CLI.
$(TOOLS)/.checkov-$(CHECKOV): $(TOOLS_READY)
	@echo "checkov $(CHECKOV) into $(TOOLS)/checkov, once (300 MB, about a minute)"
	python3 -m venv "$(TOOLS)/checkov"
	timeout 600 "$(TOOLS)/checkov/bin/pip" install -q --disable-pip-version-check checkov==$(CHECKOV)
	@touch "$@"

$(TOOLS)/.schemathesis-$(SCHEMATHESIS): $(TOOLS_READY)
	@echo "schemathesis $(SCHEMATHESIS) into $(TOOLS)/schemathesis, once (100 MB, half a minute)"
	python3 -m venv "$(TOOLS)/schemathesis"
	timeout 600 "$(TOOLS)/schemathesis/bin/pip" install -q --disable-pip-version-check schemathesis==$(SCHEMATHESIS)
	@touch "$@"

clean: ## Removes what was built; the tools stay
	cargo clean
	rm -rf .aws-sam
