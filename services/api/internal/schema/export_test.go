package schema

// RunPGMQFiles hands the SQL-only PGMQ over as this build has it, file by file.
func RunPGMQFiles(run func(text string) error) error { return runPGMQFiles(run) }
