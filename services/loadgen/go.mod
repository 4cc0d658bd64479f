module orderflow.example/services/loadgen

go 1.26.0
