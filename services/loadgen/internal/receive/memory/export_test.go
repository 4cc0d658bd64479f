package memory

import "errors"

// BreakFile makes every later write of the file fail.
func BreakFile(m *Memory) { _ = m.file.f.Close() }

// BreakDisk makes every later fsync of the file fail. Nothing may be under way.
func BreakDisk(m *Memory) { m.file.sync = func() error { return errors.New("the disk is broken") } }
