// SPDX-License-Identifier: LGPL-3.0-or-later

package witnessfile_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

func blockPath(t *testing.T, name string) string {
	return filepath.Join(realdata.Dir(t), "blocks", name+".json.gz")
}

// TestPathNode finds every node of a witness by its path, as snap/1 does.
func TestPathNode(t *testing.T) {
	file, err := witnessfile.Load(blockPath(t, "1-21688509"))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[common.Hash]bool)
	var walk func(owner common.Hash, path []byte, hash common.Hash)
	walk = func(owner common.Hash, path []byte, hash common.Hash) {
		blob, ok := file.Nodes[hash]
		if !ok {
			return
		}
		found[hash] = true
		if got := file.PathNode(file.PreRoot, owner, path); !bytes.Equal(got, blob) {
			t.Fatalf("node %x at %x of %x: %x", hash, path, owner, got)
		}
		children, err := trie.Children(blob)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range children {
			at := append(bytes.Clone(path), c.Path...)
			if c.Value == nil {
				walk(owner, at, c.Hash)
			} else if owner == (common.Hash{}) {
				var acct types.StateAccount
				if err := rlp.DecodeBytes(c.Value, &acct); err != nil {
					t.Fatal(err)
				}
				var account common.Hash
				for i := range account {
					account[i] = at[2*i]<<4 | at[2*i+1]
				}
				walk(account, nil, acct.Root)
			}
		}
	}
	walk(common.Hash{}, nil, file.PreRoot)
	if size := file.Size(); len(found) != size.Nodes || size.Nodes != 671 || size.Codes != 23 || size.NodeBytes != 230022 || size.CodeBytes != 235378 {
		t.Errorf("found %d nodes of %+v", len(found), size)
	}
	for what, got := range map[string][]byte{
		"below a leaf":    file.PathNode(file.PreRoot, common.Hash{}, make([]byte, 40)),
		"terminator":      file.PathNode(file.PreRoot, common.Hash{}, []byte{16}),
		"unknown account": file.PathNode(file.PreRoot, common.Hash{1}, nil),
		"unknown root":    file.PathNode(common.Hash{1}, common.Hash{}, nil),
	} {
		if got != nil {
			t.Errorf("%s: %x", what, got)
		}
	}
}

// TestWithoutParent reads files with preRoot, made from one with headers: with the parent among the
// ancestors, without it, with a chain config, and malformed ones.
func TestWithoutParent(t *testing.T) {
	original, err := witnessfile.Load(blockPath(t, "1-22615247"))
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := os.ReadFile(blockPath(t, "1-22615247"))
	if err != nil {
		t.Fatal(err)
	}
	unzip, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.NewDecoder(unzip).Decode(&fields); err != nil {
		t.Fatal(err)
	}
	headers := fields["headers"]
	delete(fields, "headers")
	load := func(t *testing.T, extra map[string]any) (*witnessfile.File, error) {
		t.Helper()
		changed := make(map[string]any)
		for _, m := range []map[string]any{fields, extra} {
			for k, v := range m {
				changed[k] = v
			}
		}
		encoded, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "block.json")
		if err := os.WriteFile(path, encoded, 0o600); err != nil {
			t.Fatal(err)
		}
		return witnessfile.Load(path)
	}
	root := original.PreRoot.Hex()
	for what, c := range map[string]struct {
		extra  map[string]any
		parent bool
	}{
		"ancestors": {map[string]any{"preRoot": root, "ancestors": headers}, true},
		"nothing":   {map[string]any{"preRoot": root}, false},
		"empty":     {map[string]any{"preRoot": root, "ancestors": []string{}}, false},
		"config":    {map[string]any{"preRoot": root, "chainId": 1, "config": params.MainnetChainConfig}, false},
	} {
		t.Run(what, func(t *testing.T) {
			file, err := load(t, c.extra)
			if err != nil {
				t.Fatal(err)
			}
			if file.HasParent != c.parent || file.PreRoot != original.PreRoot || file.Parent.Root != original.PreRoot {
				t.Fatalf("parent %v, root %x", file.HasParent, file.PreRoot)
			}
			result := file.Execute(t.Context(), evm.NewExecutor(file.Config), trie.Open(t.Context(), file.PreRoot, nil, file), file)
			if result.Outcome != evm.Valid {
				t.Errorf("%v: %v", result.Outcome, result.Err)
			}
		})
	}
	for what, extra := range map[string]map[string]any{
		"preRoot":    {},
		"state root": {"preRoot": common.Hash{1}.Hex(), "headers": headers},
		"config":     {"preRoot": root, "chainId": 4242},
		"hash":       {"preRoot": root, "hash": common.Hash{1}.Hex()},
		"number":     {"preRoot": root, "number": 7},
		"header 0":   {"preRoot": root, "headers": []string{"0xc0"}},
		"block":      {"preRoot": root, "block": "0xc0"},
	} {
		if _, err := load(t, extra); err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "block.json") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
