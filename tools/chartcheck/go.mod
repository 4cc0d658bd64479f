module orderflow.example/tools/chartcheck

go 1.26.0

require (
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	helm.sh/helm/v3 v3.22.0 // indirect
	k8s.io/api v0.37.0 // indirect
	k8s.io/apimachinery v0.37.0 // indirect
	k8s.io/pod-security-admission v0.37.0 // indirect
	sigs.k8s.io/yaml v1.6.0 // indirect
)
