// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	gethlog "github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rlp"
)

// TestAccountRange reads all accounts in pages, and compares them with go-ethereum's.
func TestAccountRange(t *testing.T) {
	geth, ours := startGethOn(t, mainChain()), newFakeNode(t).client(t)
	type dump struct {
		Accounts map[string]any
		Next     string
	}
	for _, noCode := range []bool{false, true} {
		next, accounts := "0x", 0
		for {
			c := rpcCall{"debug_accountRange", []any{"latest", next, 100, noCode, true, true}}
			got, want := response(ours, c), response(geth, c)
			if got != want {
				t.Fatalf("%s\n got %s\nwant %s", c, got, want)
			}
			page := call[dump](t, ours, c.method, c.params...)
			accounts += len(page.Accounts)
			if next = page.Next; next == "" {
				break
			}
		}
		if accounts < 300 {
			t.Errorf("%d accounts", accounts)
		}
	}
	for _, params := range [][]any{{"0x99", "0x", 5, true, true, true}, {common.Hash{1}, "0x", 5, true, true, true}, {mainChain().blocks[3].Hash(), "0xff", 0, true, true, true}} {
		c := rpcCall{"debug_accountRange", params}
		if got, want := response(ours, c), response(geth, c); got != want {
			t.Errorf("%s: %s, want %s", c, got, want)
		}
	}
	if got := response(ours, rpcCall{"debug_accountRange", []any{"latest", "0x", 5, true, true, false}}); !strings.Contains(got, "set incompletes") {
		t.Error(got)
	}
	if got := call[dump](t, ours, "debug_dumpBlock", "0x3"); len(got.Accounts) != maxAccountRange || got.Next == "" {
		t.Errorf("%d accounts, next %q", len(got.Accounts), got.Next)
	}
}

// TestModifiedAccounts compares the accounts that blocks modify with those of a go-ethereum that knows the addresses.
func TestModifiedAccounts(t *testing.T) {
	w := mainChain()
	stack, _ := runGeth(t, w, func(c *ethconfig.Config) { c.Preimages = true })
	geth, ours := stack.Attach(), newFakeNode(t).client(t)
	compare := func(method string, params ...any) {
		c := rpcCall{method, params}
		if got, want := response(ours, c), response(geth, c); got != want || strings.Contains(got, "preimage") {
			t.Errorf("%s\n got %s\nwant %s", c, got, want)
		}
	}
	for number := range mainChainBlocks + 1 {
		compare("debug_getModifiedAccountsByNumber", number)
		compare("debug_getModifiedAccountsByHash", w.blocks[number].Hash())
		compare("debug_getModifiedAccountsByNumber", 2, number)
	}
	compare("debug_getModifiedAccountsByHash", w.blocks[4].Hash(), w.blocks[9].Hash())
	compare("debug_getModifiedAccountsByHash", w.blocks[9].Hash(), w.blocks[4].Hash())
	compare("debug_getModifiedAccountsByHash", common.Hash{1})
	compare("debug_getModifiedAccountsByHash", w.blocks[4].Hash(), common.Hash{1})
	compare("debug_getModifiedAccountsByNumber", 99)
	compare("debug_getModifiedAccountsByNumber", 9, 99)
}

// TestBadBlocks: rejected blocks are listed as go-ethereum lists them, and can be traced.
func TestBadBlocks(t *testing.T) {
	header := mainChain().blocks[7].Header()
	header.Root = common.Hash{1}
	bad := types.NewBlockWithHeader(header).WithBody(*mainChain().blocks[7].Body())
	stack, backend := runGeth(t, mainChain())
	rawdb.WriteBadBlock(backend.ChainDb(), bad)
	dir := t.TempDir()
	n := newFakeNode(t, func(c *Config, _ *Backend) {
		c.Identity.DataDir, c.IPC = dir, filepath.Join(dir, "s.ipc")
		c.HTTP = HTTP{Enabled: true, Host: "127.0.0.1", Modules: []string{"debug"}}
	})
	n.chain.bad = []*types.Block{bad}
	n.start(t)
	geth, remote, ipc := stack.Attach(), dial(t, "http://"+n.Addrs().HTTP), dial(t, n.Addrs().IPC)
	for _, c := range []rpcCall{
		{"debug_getBadBlocks", nil},
		{"debug_traceBadBlock", []any{bad.Hash()}},
		{"debug_traceBadBlock", []any{common.Hash{2}}},
		{"debug_traceBadBlock", []any{bad.Hash(), object{"tracer": "callTracer"}}},
		{"debug_intermediateRoots", []any{bad.Hash()}},
	} {
		if got, want := response(remote, c), response(geth, c); got != want {
			t.Errorf("%s\n got %s\nwant %s", c, got, want)
		}
	}
	encoded, err := rlp.EncodeToBytes(bad)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "bad.rlp"), encoded, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	traceFile, listFile := rpcCall{"debug_traceBlockFromFile", []any{"bad.rlp"}}, rpcCall{"debug_getBadBlocks", []any{"list.json"}}
	for _, c := range []rpcCall{traceFile, listFile} {
		if got := response(remote, c); !strings.Contains(got, "IPC socket only") {
			t.Errorf("%s over HTTP: %s", c, got)
		}
	}
	if got, want := response(ipc, traceFile), response(ipc, rpcCall{"debug_traceBadBlock", []any{bad.Hash()}}); got != want {
		t.Errorf("from a file\n got %s\nwant %s", got, want)
	}
	if got := response(ipc, listFile); got != "null" {
		t.Error(got)
	}
	if got := response(ipc, listFile); !strings.Contains(got, "would overwrite") {
		t.Error(got)
	}
	if list, err := os.ReadFile(filepath.Join(dir, "list.json")); err != nil || strings.TrimSpace(string(list)) != response(ipc, rpcCall{method: "debug_getBadBlocks"}) {
		t.Errorf("%s, %v", list, err)
	}
}

type fakeDatabase struct{}

func (fakeDatabase) Property() (string, error) { return "compactions: 3", nil }

// TestVerbosity: the level of the log can be changed while the node runs, also for single packages.
func TestVerbosity(t *testing.T) {
	var lines strings.Builder
	levels := gethlog.NewGlogHandler(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: gethlog.LevelTrace}))
	client := newFakeNode(t, func(_ *Config, b *Backend) { b.LogLevels, b.Database = levels, fakeDatabase{} }).client(t)
	log := slog.New(levels).With("key", 1)
	for i, c := range []rpcCall{{"debug_verbosity", []any{4}}, {"debug_verbosity", []any{1}}, {"debug_vmodule", []any{"rpc=5"}}} {
		if got := response(client, c); got != "null" {
			t.Errorf("%s: %s", c, got)
		}
		log.Debug(fmt.Sprintf("line %d", i))
	}
	if got := lines.String(); !strings.Contains(got, "line 0") || strings.Contains(got, "line 1") || !strings.Contains(got, "line 2") {
		t.Error(got)
	}
	if got := response(client, rpcCall{"debug_vmodule", []any{"a=b=c"}}); !strings.Contains(got, "expect comma-separated") {
		t.Error(got)
	}
	if got := response(client, rpcCall{method: "debug_chaindbProperty"}); got != `"compactions: 3"` {
		t.Error(got)
	}
}
