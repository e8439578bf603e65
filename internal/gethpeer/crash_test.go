// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ethereum/go-ethereum/core"
)

// What made geth crash is not lost among the goroutines that are listed after it.
func TestSaysWhatItCrashedOf(t *testing.T) {
	binary, err := Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(t.Context(), Config{
		Binary: binary, Dir: filepath.Join(t.TempDir(), "geth"), Genesis: core.DeveloperGenesisBlock(30_000_000, nil), CacheMB: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	err = p.Wait()
	if err == nil || !strings.Contains(err.Error(), "exit status 2\n") || !strings.Contains(err.Error(), "\nSIGQUIT: quit\n") {
		t.Errorf("it crashed with %v", err)
	}
	if n := len(err.Error()); n > 5<<10 {
		t.Errorf("an error of %d bytes", n)
	}
}
