package postgres

// Class is the class of a SQLSTATE: its first two characters (https://www.postgresql.org/docs/current/errcodes-appendix.html). What is in
// between may send an error whose SQLSTATE is shorter, or none.
func Class(code string) string { return code[:min(2, len(code))] }
