package isotime

// Bounded is the SQL of a timestamptz column as an answer can show it: within the years 1 to 9999, beyond which clients cannot read a
// time. PostgreSQL's own range is wider and has infinities, and whoever writes to a table may use them.
func Bounded(column string) string {
	// greatest passes a null over: without the case, no time would be the first of all times.
	return "case when " + column + " is not null then least(greatest(" + column + ", '0001-01-01 00:00:00+00'), '9999-12-31 23:59:59.999999+00') end"
}
