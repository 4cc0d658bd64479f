package orders

// SecondWrites says whether the second writer has a connection.
func SecondWrites(w *Writers) bool { return w.second.writes() }

// Loads are the orders that wait for each writer or are being written by it.
func Loads(w *Writers) (first, second int) { return w.first.load(), w.second.load() }

// Keyed is how many keys of requests are kept.
func Keyed(w *Writers) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.keyed)
}
