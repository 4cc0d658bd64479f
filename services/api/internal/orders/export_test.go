package orders

// SecondWrites says whether the second writer has a connection.
func SecondWrites(w *Writers) bool { return w.second.writes() }
