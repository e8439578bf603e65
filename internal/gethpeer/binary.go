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
)

// Env names a ready geth binary; it is used as it is.
const Env = "SUNBEAM_GETH"

// ours is the module whose go.mod pins geth.
const ours = "github.com/sunbeam-eth/sunbeam"

// Binary returns the path of a geth of the version in our go.mod. The first call builds
// it (minutes, if Go's build cache is empty) and keeps it in the user's cache directory;
// it must run inside the module then. The variable SUNBEAM_GETH overrides all of this.
func Binary(ctx context.Context) (string, error) {
	path, root, err := given(ctx, Env)
	if path != "" || err != nil {
		return path, err
	}
	version, err := goTool(ctx, root, "list", "-m", "-f", "{{.Version}}", "github.com/ethereum/go-ethereum")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cacheDir(), "geth-"+version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return build(ctx, root, dir)
}

// OldEnv names a ready geth v1.10.26; it is used as it is.
const OldEnv = "SUNBEAM_GETH_V1_10"

// OldBinary returns the path of a geth v1.10.26, the last one that answers GetNodeData. It is
// built from the module tools/geth-v1.10, once, like that of [Binary]. SUNBEAM_GETH_V1_10
// overrides that.
func OldBinary(ctx context.Context) (string, error) {
	path, root, err := given(ctx, OldEnv)
	if path != "" || err != nil {
		return path, err
	}
	dir := filepath.Join(cacheDir(), "geth-v1.10.26")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// It links to names of the runtime that Go hides by now.
	return build(ctx, filepath.Join(root, "tools", "geth-v1.10"), dir, "-ldflags=-checklinkname=0")
}

// given is the ready binary that a variable of the environment names, or else the root of our module, to
// build one in.
func given(ctx context.Context, env string) (path, root string, err error) {
	if path := os.Getenv(env); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", "", fmt.Errorf("%s: %w", env, err)
		}
		return path, "", nil
	}
	module, err := goTool(ctx, "", "list", "-m", "-f", "{{.Path}} {{.Dir}}")
	if err != nil {
		return "", "", err
	}
	name, root, _ := strings.Cut(module, " ")
	if name != ours {
		return "", "", fmt.Errorf("geth is built inside the module %s, this is %s; set %s to a ready binary", ours, name, env)
	}
	return "", root, nil
}

// build makes dir/geth unless it is there. Of several processes one builds, the others
// wait for it.
func build(ctx context.Context, root, dir string, flags ...string) (string, error) {
	target := filepath.Join(dir, "geth")
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close() // releases the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	fresh := target + ".new" // so that a build cut short leaves nothing that looks ready
	args := append([]string{"build", "-o", fresh}, flags...)
	if _, err := goTool(ctx, root, append(args, "github.com/ethereum/go-ethereum/cmd/geth")...); err != nil {
		return "", err
	}
	return target, os.Rename(fresh, target)
}

func cacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "sunbeam")
}

func goTool(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), errors.Join(err, errors.New(strings.TrimSpace(stderr.String()))))
	}
	return strings.TrimSpace(string(out)), nil
}
