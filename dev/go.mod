module orderflow.example/dev

go 1.26.0
