// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// growingEngine takes the next block of the main chain as valid.
type growingEngine struct {
	*fakeEngine
	chain *fakeChain
}

func (e growingEngine) NewPayload(_ context.Context, block *types.Block) importer.Outcome {
	if e.chain.w.blocks[e.chain.head+1].Hash() != block.Hash() {
		return importer.Outcome{Status: importer.Invalid, Reason: errors.New("wrong block")}
	}
	return importer.Outcome{Status: importer.Valid}
}

func (e growingEngine) Forkchoice(_ context.Context, choice importer.Forkchoice) (importer.Outcome, error) {
	e.chain.head++
	if e.chain.CurrentHeader().Hash() != choice.Head {
		return importer.Outcome{}, errors.New("wrong head")
	}
	return importer.Outcome{Status: importer.Valid}, nil
}

// TestExportAndImportChain: a file of blocks is that of go-ethereum, and can be imported.
func TestExportAndImportChain(t *testing.T) {
	dir := t.TempDir()
	n := newFakeNode(t, func(c *Config, _ *Backend) { c.IPC, c.Identity.DataDir = dir+"/ipc", dir })
	n.start(t)
	ours, geth := dial(t, n.Addrs().IPC), startGethOn(t, mainChain())
	for name, limits := range map[string][]any{"all.rlp": nil, "from.rlp": {4}, "range.rlp": {3, 7}, "zipped.rlp.gz": {0, 5}} {
		mine, theirs := filepath.Join(dir, name), filepath.Join(dir, "geth-"+name)
		got, want := response(ours, rpcCall{"admin_exportChain", append([]any{mine}, limits...)}), response(geth, rpcCall{"admin_exportChain", append([]any{theirs}, limits...)})
		if got != "true" || want != "true" {
			t.Fatalf("%s: %s, %s", name, got, want)
		}
		a, errA := os.ReadFile(mine)
		b, errB := os.ReadFile(theirs)
		if errA != nil || errB != nil || !bytes.Equal(a, b) || len(a) == 0 {
			t.Errorf("%s: %d bytes %v, want %d %v", name, len(a), errA, len(b), errB)
		}
	}
	for _, params := range [][]any{{"all.rlp"}, {"new", nil, 4}, {"new", 7, 3}, {"new", 3, 99}} {
		got := response(ours, rpcCall{"admin_exportChain", params})
		full := append([]any{filepath.Join(dir, "geth-"+params[0].(string))}, params[1:]...)
		if want := response(geth, rpcCall{"admin_exportChain", full}); !strings.HasPrefix(got, "error") || got != want && !strings.Contains(got, "#13: not found") {
			t.Errorf("%v: %s, want %s", params, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
		t.Error("a file was left of an export that failed")
	}

	fresh := newFakeNode(t, func(c *Config, b *Backend) {
		c.IPC, c.Identity.DataDir = dir+"/ipc2", dir
		b.Engine = growingEngine{new(fakeEngine), b.Chain.(*fakeChain)}
	})
	fresh.chain.head = 0
	fresh.start(t)
	client := dial(t, fresh.Addrs().IPC)
	for _, step := range []struct {
		file, want string
		head       int
	}{
		{"range.rlp", "its parent", 0},
		{"zipped.rlp.gz", "true", 5},
		{"zipped.rlp.gz", "true", 5},
		{"geth-all.rlp", "true", mainChainBlocks},
		{"nothing", "no such file", mainChainBlocks},
		{"ipc2", "error", mainChainBlocks},
	} {
		if got := response(client, rpcCall{"admin_importChain", []any{step.file}}); !strings.Contains(got, step.want) || fresh.chain.head != step.head {
			t.Errorf("%s: %s, head %d", step.file, got, fresh.chain.head)
		}
	}
	if got := response(newFakeNode(t).client(t), rpcCall{"admin_importChain", []any{filepath.Join(dir, "cut")}}); !strings.Contains(got, "cut") {
		t.Error(got)
	}
}
