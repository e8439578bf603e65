// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Env names a ready geth binary; it is used as it is.
const Env = "SUNBEAM_GETH"

// modulePath is the module whose go.mod pins geth.
const modulePath = "github.com/sunbeam-eth/sunbeam"

const geth = "github.com/ethereum/go-ethereum"

// program is a command that is built and kept.
type program struct {
	env    string   // a variable that names a ready one
	module string   // where the module is that it is built in, from the root of ours
	pkg    string   // what to build
	flags  []string // more, for go build
	always bool     // build it whenever it is asked for: its source changes with ours
}

// Binary returns the path of a geth of the version in our go.mod. The first call builds it from the
// module tools/geth (minutes, if Go's build cache is empty) and keeps it in the user's cache directory; it
// must run inside our module then. The variable SUNBEAM_GETH overrides all of this.
//
// Without -pgo=off the profile beside geth's main package would have every dependency compiled anew.
func Binary(ctx context.Context) (string, error) {
	return program{env: Env, module: gethModule, pkg: geth + "/cmd/geth", flags: []string{"-pgo=off"}}.binary(ctx)
}

const gethModule = "tools/geth"

// OldEnv names a ready geth v1.10.26; it is used as it is.
const OldEnv = "SUNBEAM_GETH_V1_10"

// OldBinary returns the path of a geth v1.10.26, the last one that answers GetNodeData. It is
// built from the module tools/geth-v1.10, once, like that of [Binary]. SUNBEAM_GETH_V1_10
// overrides that.
func OldBinary(ctx context.Context) (string, error) {
	return program{env: OldEnv, module: oldModule, pkg: geth + "/cmd/geth", flags: oldFlags()}.binary(ctx)
}

const oldModule = "tools/geth-v1.10"

// oldFlags let geth v1.10 link to names of the runtime that Go hides by now.
func oldFlags() []string { return []string{"-ldflags=-checklinkname=0"} }

// binary is the path of a program that is ready to run. Of several processes one builds, the
// others wait for it.
func (p program) binary(ctx context.Context) (string, error) {
	path, root, err := p.locate(ctx)
	if path != "" || err != nil {
		return path, err
	}
	root = filepath.Join(root, filepath.FromSlash(p.module))
	version, err := Go(ctx, root, "list", "-m", "-f", "{{.Version}}", geth)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cacheDir(), "geth-"+version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	building, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer building.Close()
	if err := lock(ctx, building); err != nil {
		return "", fmt.Errorf("lock %s: %w", building.Name(), err)
	}
	target := filepath.Join(dir, filepath.Base(p.pkg))
	if _, err := os.Stat(target); err == nil && !p.always {
		return target, nil
	}
	fresh := target + ".new" // so that a build cut short leaves nothing that looks ready
	args := append([]string{"build", "-o", fresh}, p.flags...)
	if _, err := Go(ctx, root, append(args, p.pkg)...); err != nil {
		return "", err
	}
	return target, os.Rename(fresh, target)
}

// locate returns the ready binary that the variable of the environment names, or else the root of our module, to
// build one in.
func (p program) locate(ctx context.Context) (path, root string, err error) {
	if path := os.Getenv(p.env); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", "", fmt.Errorf("%s: %w", p.env, err)
		}
		return path, "", nil
	}
	module, err := Go(ctx, "", "list", "-m", "-f", "{{.Path}} {{.Dir}}")
	if err != nil {
		return "", "", err
	}
	name, root, _ := strings.Cut(module, " ")
	if name != modulePath {
		return "", "", fmt.Errorf("%s is built inside the module %s, this is %s; set %s to a ready binary", filepath.Base(p.pkg), modulePath, name, p.env)
	}
	return "", root, nil
}

func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "sunbeam")
}

// goPatience is how long an interrupted go command may take.
const goPatience = 10 * time.Second

// Go runs a go command in a directory and returns what it prints. When ctx ends, the command and the compilers that it started are
// interrupted; a terminal's own interrupts do not reach them.
func Go(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.SysProcAttr, cmd.WaitDelay = dir, ChildAttributes(), goPatience
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), errors.Join(err, errors.New(strings.TrimSpace(stderr.String()))))
	}
	return strings.TrimSpace(string(out)), nil
}

// lock takes an exclusive lock on a file, which closing it releases. It waits until ctx ends.
func lock(ctx context.Context, file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
