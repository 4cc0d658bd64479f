package audit

// Shrink makes small runs count as large ones.
func (a *Auditor) Shrink(small, few int) { a.small, a.few = small, few }
