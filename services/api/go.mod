module orderflow.example/services/api

go 1.26.0
