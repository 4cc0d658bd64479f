package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// buildShim compiles a library for LD_PRELOAD, where there is a C compiler. The services cannot be given another clock or disk that
// way, but Postgres can.
func (r *Rig) buildShim(ctx context.Context, name string, source []byte) (string, error) {
	if runtime.GOOS != "linux" {
		return "", &skipError{"needs Linux (LD_PRELOAD)"}
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", &skipError{"needs a C compiler"}
	}
	dir, err := r.suite.Session.Mkdir(name)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the server's user has to read it
		return "", err
	}
	path, shim := filepath.Join(dir, name+".c"), filepath.Join(dir, name+".so")
	if err := os.WriteFile(path, source, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, cc, "-O2", "-shared", "-fPIC", "-o", shim, path, "-ldl").CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the shim %s: %w: %s", name, err, out)
	}
	return shim, os.Chmod(shim, 0o755) //nolint:gosec // the same
}
