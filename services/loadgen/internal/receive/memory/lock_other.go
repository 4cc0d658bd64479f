//go:build !unix

package memory

import "os"

// lock does not know how to keep others out here.
func lock(*os.File) error { return nil }
