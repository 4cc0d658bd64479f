package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const packageTimeout = 5 * time.Minute

// noMainCluster keeps Debian's packages from making and starting a server of the machine's own when they are installed: we want the
// binaries, and leave nothing running. See createcluster.conf of postgresql-common.
const noMainCluster = "/etc/postgresql-common/createcluster.d/orderflow-dev.conf"

// startPackage installs the distribution's package, as root on Debian and its kin only, and runs a private cluster from it.
func startPackage(ctx context.Context, opts Options) (*Server, error) {
	if !isDebian(osRelease()) {
		return nil, errors.New("only on Debian and Ubuntu")
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("only as root")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return nil, errors.New("no apt-get")
	}
	opts.Say("installing the package postgresql with apt-get (it stays installed; no server of the machine is set up)")
	ctx, cancel := context.WithTimeout(ctx, packageTimeout)
	defer cancel()
	if err := aptInstall(ctx); err != nil {
		return nil, err
	}
	return startLocal(ctx, opts)
}

func aptInstall(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(noMainCluster), 0o755); err != nil { //nolint:gosec // as the package makes it
		return fmt.Errorf("prepare the installation: %w", err)
	}
	if err := os.WriteFile(noMainCluster, []byte("create_main_cluster = false\n"), 0o644); err != nil { //nolint:gosec // read by the package's scripts
		return fmt.Errorf("prepare the installation: %w", err)
	}
	defer os.Remove(noMainCluster) //nolint:errcheck // left behind it only keeps later packages from making a server

	install := []string{"install", "--yes", "--no-install-recommends", "postgresql"}
	if err := apt(ctx, install...); err == nil {
		return nil
	}
	// Fresh images come without package lists, and old lists name packages that are gone.
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	return apt(ctx, install...)
}

// noServices keeps packages from starting what they bring: see invoke-rc.d.
const noServices = "/usr/sbin/policy-rc.d"

// Install installs a package of the distribution's, as root on Debian and its kin only, and starts nothing of it.
func Install(ctx context.Context, name string) error {
	if !isDebian(osRelease()) || os.Geteuid() != 0 {
		return errors.New("it can be installed as root on Debian and Ubuntu only")
	}
	ctx, cancel := context.WithTimeout(ctx, packageTimeout)
	defer cancel()
	if _, err := os.Stat(noServices); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(noServices, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil { //nolint:gosec // a script that others run
			return fmt.Errorf("prepare the installation: %w", err)
		}
		defer os.Remove(noServices) //nolint:errcheck // left behind it keeps packages from starting services, and says so
	}
	install := []string{"install", "--yes", "--no-install-recommends", name}
	if err := apt(ctx, install...); err == nil {
		return nil
	}
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	return apt(ctx, install...)
}

func apt(ctx context.Context, args ...string) error {
	args = append([]string{"-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=1", "-o", "DPkg::Lock::Timeout=60"}, args...)
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// dpkg must not be killed in the middle: it is asked to stop, and gets time.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w: %s", args[len(args)-1], err, lastLine(string(out)))
	}
	return nil
}
