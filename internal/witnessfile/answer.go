// SPDX-License-Identifier: LGPL-3.0-or-later

package witnessfile

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

var (
	_ trie.Source = (*File)(nil)
	_ trie.Store  = (*File)(nil)
)

// FetchNode implements trie.Source. A node that the file lacks is trie.ErrUnavailable.
func (f *File) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if blob, ok := f.Nodes[fault.Hash]; ok {
		return blob, nil
	}
	return nil, fmt.Errorf("node %x is not in the witness: %w", fault.Hash, trie.ErrUnavailable)
}

// FetchCode implements trie.Source. A code that the file lacks is trie.ErrUnavailable.
func (f *File) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if code, ok := f.Codes[hash]; ok {
		return code, nil
	}
	return nil, fmt.Errorf("code %x is not in the witness: %w", hash, trie.ErrUnavailable)
}

// Node implements trie.Store.
func (f *File) Node(_ common.Hash, _ []byte, hash common.Hash) ([]byte, error) {
	return f.Nodes[hash], nil
}

// Code implements trie.Store.
func (f *File) Code(hash common.Hash) ([]byte, error) { return f.Codes[hash], nil }

// Header implements evm.Headers. A header that the file lacks is trie.ErrUnavailable.
func (f *File) Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if header, ok := f.headers[hash]; ok {
		return header, nil
	}
	return nil, fmt.Errorf("header %d %x is not in the witness: %w", number, hash, trie.ErrUnavailable)
}

// PathNode returns the node at path (nibbles) in the trie of owner (zero: the account trie) under the
// state root, as snap/1 GetTrieNodes addresses nodes. It returns nil if the trie has no node at exactly
// that path, if the node is embedded in its parent, or if the witness lacks it.
func (f *File) PathNode(root, owner common.Hash, path []byte) []byte {
	if owner != (common.Hash{}) {
		acct := f.account(root, owner)
		if acct == nil {
			return nil
		}
		root = acct.Root
	}
	nodes := trie.Follow(owner, nil, root, path, f.Nodes)
	if len(nodes) == 0 || len(nodes[len(nodes)-1].Path) != len(path) {
		return nil
	}
	return nodes[len(nodes)-1].Blob
}

// account returns the account with the given address hash, nil if there is none.
func (f *File) account(root, hash common.Hash) *types.StateAccount {
	key := trie.Nibbles(hash)
	nodes := trie.Follow(common.Hash{}, nil, root, key, f.Nodes)
	if len(nodes) == 0 {
		return nil
	}
	last := nodes[len(nodes)-1]
	step, err := trie.Descend(last.Blob, key[len(last.Path):])
	if err != nil || step.Kind != trie.StepValue {
		return nil
	}
	acct := new(types.StateAccount)
	if err := rlp.DecodeBytes(step.Value, acct); err != nil {
		return nil
	}
	return acct
}

// Size is the size of a witness: numbers of nodes and codes, and their bytes.
type Size struct {
	Nodes, NodeBytes int
	Codes, CodeBytes int
}

// Size returns the size of the witness.
func (f *File) Size() Size {
	size := Size{Nodes: len(f.Nodes), Codes: len(f.Codes)}
	for _, blob := range f.Nodes {
		size.NodeBytes += len(blob)
	}
	for _, code := range f.Codes {
		size.CodeBytes += len(code)
	}
	return size
}
