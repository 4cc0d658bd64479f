# Kubernetes: images, the chart, the kind cluster and the end-to-end run on it. Included by the Makefile.

# Node image and Postgres image; empty: kind's own, the chart's own.
KIND_NODE_IMAGE ?=
POSTGRES_IMAGE  ?=
KIND_CONFIG     ?= deploy/kind/cluster.yaml
# Where `make deploy` installs; `make deploy HELM_FLAGS='--set consumer.replicas=5'`.
NAMESPACE  ?= orderflow
RELEASE    ?= orderflow
HELM_FLAGS ?=
# Where `make push` puts the images.
IMAGES ?=
export POSTGRES_IMAGE IMAGES

CHART   := deploy/helm/orderflow
CLUSTER := orderflow
# Always by name: never the context that happens to be the current one.
CONTEXT := kind-$(CLUSTER)
KUBECTL := kubectl --context $(CONTEXT)
HELM    := bin/helm --kube-context $(CONTEXT)

# What belongs to the release, whatever its name makes of its objects'.
OF_RELEASE := app.kubernetes.io/instance=$(RELEASE)

# Go modules outside services/ and dev/ that are linted, too.
CHECK_MODULES += tools/chartcheck tools/river deploy/kind/e2e dev/alerts

# Helm tells templates the Kubernetes version that it was linked with when it talks to no cluster.
HELM_LDFLAGS := -s -w -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34

##@ Kubernetes
.PHONY: images push kind-up deploy e2e status logs dash kind-down
images: ## Build the three images for the engine's architecture, pulling nothing
	@deploy/kind/images

push: ## Build and push them for a cluster of yours: make push IMAGES=registry.example.com/orderflow
	@tag=$$(deploy/kind/images --push); images='$(IMAGES)'; \
	echo "helm install orderflow $(CHART) --set image.registry=$${images%%/*},image.repository=$${images#*/} --set-string image.tag=$$tag"

kind-up: bin/kind .kubectl ## Create the kind cluster, unless it is there, and load the images into its nodes (KIND_CONFIG=, KIND_NODE_IMAGE=)
	@if bin/kind get clusters 2>/dev/null | grep -qx $(CLUSTER); then \
		bin/kind export kubeconfig --name $(CLUSTER); \
	else \
		echo 'creating the cluster: about half a minute, and the download of the node image the first time'; \
		bin/kind create cluster --name $(CLUSTER) --config $(KIND_CONFIG) $(if $(KIND_NODE_IMAGE),--image $(KIND_NODE_IMAGE)) --wait 5m; \
	fi
	@$(KUBECTL) wait --for=condition=Ready nodes --all --timeout=3m
	@deploy/kind/images --load > /dev/null
	@echo 'ready. Next: make deploy, or helm install orderflow $(CHART) --kube-context $(CONTEXT)'

deploy: bin/kind bin/helm .cluster ## Build, load and install everything, with a load generator that proves it (NAMESPACE=, RELEASE=, HELM_FLAGS=)
	@echo 'building, loading, installing: about a minute; the load generator and its audit take half of another'
	@tag=$$(deploy/kind/images --load); \
	deploy/kind/namespace $(CONTEXT) $(NAMESPACE); \
	$(HELM) upgrade --install $(RELEASE) $(CHART) --namespace $(NAMESPACE) --values deploy/kind/values.yaml --set-string image.tag=$$tag \
		$(if $(POSTGRES_IMAGE),--set-string postgres.image=$(POSTGRES_IMAGE)) --wait --timeout 5m $(HELM_FLAGS) || { deploy/kind/diagnose $(CONTEXT) $(NAMESPACE); exit 1; }
	@deploy/kind/verdict $(CONTEXT) $(NAMESPACE) $(RELEASE)

e2e: bin/kind bin/helm bin/loadgen .cluster ## Prove it on the cluster: faults, restarts, upgrades, each ended by the audit (ONLY=a,b)
	@echo 'about twenty minutes'
	@tag=$$(deploy/kind/images --load); \
	adapter=$$(deploy/kind/e2e/adapter/image); \
	go -C deploy/kind/e2e build -o $(CURDIR)/bin/e2e . ; \
	exec bin/e2e -adapter-image "$$adapter" -loadgen bin/loadgen -context $(CONTEXT) -helm bin/helm -chart $(CHART) -tag $$tag -postgres-image '$(POSTGRES_IMAGE)' -only '$(ONLY)'

status: .cluster ## What runs, and what the queue holds
	@$(KUBECTL) --namespace $(NAMESPACE) get deployments,statefulsets,jobs,pods,persistentvolumeclaims --selector $(OF_RELEASE)
	@postgres=$$($(KUBECTL) --namespace $(NAMESPACE) get statefulsets --selector $(OF_RELEASE),app.kubernetes.io/component=postgres --output name); \
	[[ -n $$postgres ]] || { echo; echo 'The database is elsewhere: make dash, and /queue says what it holds.'; exit 0; }; \
	echo; $(KUBECTL) --namespace $(NAMESPACE) exec $$postgres -- sh -c 'exec psql --username postgres --dbname "$$OWNER_DATABASE" \
		--command "select status, count(*) as orders from orders group by 1 order by 1" \
		--command "select queue_name, queue_length, oldest_msg_age_sec from pgmq.metrics_all()"'

logs: .cluster ## Follow a service's logs: make logs SVC=api, consumer or loadgen
	@case '$(SVC)' in api | consumer | loadgen) ;; *) echo 'which service? make logs SVC=api, consumer or loadgen' >&2; exit 2 ;; esac
	@$(KUBECTL) --namespace $(NAMESPACE) logs --follow --prefix --tail=100 --max-log-requests=20 \
		--selector $(OF_RELEASE),app.kubernetes.io/component=$(SVC)

dash: .cluster ## Reach the api, its documentation and the queue on http://localhost:8000 (DASH_PORT=)
	@service=$$($(KUBECTL) --namespace $(NAMESPACE) get services --selector $(OF_RELEASE),app.kubernetes.io/component=api --output name); \
	[[ -n $$service ]] || { echo 'there is no release $(RELEASE) in namespace $(NAMESPACE): make deploy, or say RELEASE= and NAMESPACE=' >&2; exit 1; }; \
	echo 'http://localhost:$(or $(DASH_PORT),8000), until Ctrl-C'; \
	exec $(KUBECTL) --namespace $(NAMESPACE) port-forward $$service $(or $(DASH_PORT),8000):http

kind-down: bin/kind ## Delete the kind cluster
	@bin/kind delete cluster --name $(CLUSTER)

.PHONY: .kubectl .cluster
.kubectl:
	@command -v kubectl > /dev/null || { echo 'kubectl is missing: https://kubernetes.io/docs/tasks/tools/#kubectl' >&2; exit 1; }

.cluster: .kubectl
	@$(KUBECTL) version > /dev/null 2>&1 || { echo 'no cluster answers as $(CONTEXT): make kind-up' >&2; exit 1; }

##@ Chart
.PHONY: chart-lint chart-test chart-docs chart-verify
chart-lint: bin/helm ## Lint the chart with each of its ci/ values
	@for values in $(CHART)/ci/*-values.yaml; do echo "helm lint --values $$values"; bin/helm lint --strict --quiet --values $$values $(CHART); done

chart-test: bin/helm-unittest $(addprefix bin/,api consumer loadgen) ## Unit tests, strict decoding, Pod Security, variables that the services know; and the e2e run's own tests
	bin/helm-unittest --strict $(CHART)
	@# The chart lies outside the tests' module, so that go would take an old result for one of the new chart.
	@CHART=$(CURDIR)/$(CHART) BINARIES=$(CURDIR)/bin go -C tools/chartcheck test -count=1 ./...
	@go -C deploy/kind/e2e test ./...

chart-docs: ## Write what is generated from values.yaml: the schema and the README's tables
	@go -C tools/chartcheck run . write $(CURDIR)/$(CHART)

chart-verify: ## Check that the schema and the README's tables are current
	@go -C tools/chartcheck run . verify $(CURDIR)/$(CHART)

# Tools, pinned in tools/ and built once per change of their go.mod; kind and helm only where the machine has none as good.
bin/kind: tools/go.mod
	@mkdir -p bin; if path=$$(tools/installed kind sigs.k8s.io/kind); then ln -sfn "$$path" $@ && touch -h $@; else \
		echo 'building kind (half a minute the first time)'; go -C tools build -o $(CURDIR)/$@ sigs.k8s.io/kind; fi

bin/helm: tools/go.mod
	@mkdir -p bin; if path=$$(tools/installed helm helm.sh/helm/v3); then ln -sfn "$$path" $@ && touch -h $@; else \
		echo 'building helm (a minute the first time)'; \
		go -C tools build -ldflags '$(HELM_LDFLAGS)' -o $(CURDIR)/$@ helm.sh/helm/v3/cmd/helm; fi

bin/helm-unittest: tools/helm-unittest/go.mod
	@echo 'building helm-unittest (a minute the first time)'
	@go -C tools/helm-unittest build -o $(CURDIR)/$@ github.com/helm-unittest/helm-unittest/cmd/helm-unittest
