module orderflow.example/kit

go 1.26.0

require (
	github.com/kelseyhightower/envconfig v1.4.0
	go.uber.org/goleak v1.3.0
	golang.org/x/term v0.47.0
)

require golang.org/x/sys v0.49.0 // indirect
