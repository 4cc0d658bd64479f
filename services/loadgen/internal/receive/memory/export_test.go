package memory

// BreakFile makes every later write of the file fail.
func BreakFile(m *Memory) { _ = m.file.f.Close() }
