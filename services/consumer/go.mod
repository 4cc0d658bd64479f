module orderflow.example/services/consumer

go 1.26.0
