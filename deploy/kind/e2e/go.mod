module orderflow.example/deploy/e2e

go 1.26.0
