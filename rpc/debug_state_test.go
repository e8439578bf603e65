// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// TestStorageRangeAt reads all slots of a contract in pages, and compares the values with go-ethereum's.
func TestStorageRangeAt(t *testing.T) {
	geth, ours := startGethOn(t, mainChain()), newFakeNode(t).client(t)
	type page struct {
		Storage map[common.Hash]struct{ Value common.Hash }
		NextKey *common.Hash
	}
	block, start, slots := mainChain().blocks[6].Hash(), common.Hash{}, 0
	for {
		params := []any{block, 1, readerAddr, hexutil.Bytes(start[:]), 64}
		got, want := call[page](t, ours, "debug_storageRangeAt", params...), call[page](t, geth, "debug_storageRangeAt", params...)
		if mustString(got) != mustString(want) {
			t.Fatalf("from %x\n got %s\nwant %s", start, mustString(got), mustString(want))
		}
		slots += len(got.Storage)
		if got.NextKey == nil {
			break
		}
		start = *got.NextKey
	}
	if slots != 200 {
		t.Errorf("%d slots", slots)
	}
	for _, params := range [][]any{{block, 9, readerAddr, "0x", 5}, {block, 0, userAddr, "0x", 5}, {"0x0", 0, userAddr, "0x", 5}} {
		c := rpcCall{"debug_storageRangeAt", params}
		if got, want := response(ours, c), response(geth, c); got != want {
			t.Errorf("%s: %s, want %s", c, got, want)
		}
	}
}

// TestAccessibleState: the states of the newest blocks are accessible.
func TestAccessibleState(t *testing.T) {
	n := newFakeNode(t)
	n.states.window = 4
	client := n.client(t)
	for _, c := range []struct {
		from, to, want string
	}{
		{"0x0", "0xc", "9"},
		{"0xa", "0xc", "10"},
		{"0xc", "0x0", "12"},
		{"0xb", "0xa", "11"},
		{"0x0", "0x5", "error -32000 <nil>: no state found"},
		{"0x5", "0x0", "error -32000 <nil>: no state found"},
		{"0x99", "0x9a", "error -32000 <nil>: no state found"},
		{"0x5", "0x5", "error -32000 <nil>: from and to needs to be different"},
	} {
		if got := response(client, rpcCall{"debug_getAccessibleState", []any{c.from, c.to}}); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestProfiles: methods that write a file are for the IPC socket only, and a relative name is in the data directory.
func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	n := newFakeNode(t, func(c *Config, _ *Backend) {
		c.Identity.DataDir, c.IPC = dir, filepath.Join(dir, "s.ipc")
		c.HTTP = HTTP{Enabled: true, Host: "127.0.0.1", Modules: []string{"debug"}}
	})
	n.start(t)
	remote := dial(t, "http://"+n.Addrs().HTTP)
	for _, method := range []string{"writeMemProfile", "writeBlockProfile", "writeMutexProfile", "startCPUProfile", "startGoTrace"} {
		if got := response(remote, rpcCall{"debug_" + method, []any{"p"}}); !strings.Contains(got, "IPC socket only") {
			t.Errorf("%s: %s", method, got)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "p")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	ipc := dial(t, n.Addrs().IPC)
	for method, params := range map[string][]any{
		"writeMemProfile": {"mem"}, "blockProfile": {"block", 0}, "mutexProfile": {"mutex", 0}, "cpuProfile": {"cpu", 0}, "goTrace": {filepath.Join(dir, "trace"), 0},
	} {
		if got := response(ipc, rpcCall{"debug_" + method, params}); got != "null" {
			t.Errorf("%s: %s", method, got)
		}
	}
	for _, name := range []string{"mem", "block", "mutex", "cpu", "trace"} {
		if written, err := os.Stat(filepath.Join(dir, name)); err != nil || written.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for method, want := range map[string]string{"stopCPUProfile": "not in progress", "stopGoTrace": "not in progress"} {
		if got := response(ipc, rpcCall{method: "debug_" + method}); !strings.Contains(got, want) {
			t.Errorf("%s: %s", method, got)
		}
	}
	var stacks string
	if err := json.Unmarshal([]byte(response(ipc, rpcCall{"debug_stacks", []any{"TestProfiles"}})), &stacks); err != nil || !strings.Contains(stacks, "TestProfiles") {
		t.Errorf("stacks: %.200s, %v", stacks, err)
	}
	if got := response(ipc, rpcCall{"debug_stacks", []any{"("}}); !strings.HasPrefix(got, "error -32602") {
		t.Errorf("invalid filter: %s", got)
	}
}
