// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/triedb"
)

// ErrWrongBlob says that a source returned bytes whose keccak256 is not the wanted hash.
// Sources verify what they return, so the source has a bug.
var ErrWrongBlob = errors.New("source returned bytes that do not have the wanted hash")

// StateDatabase is the state under one root for one execution or one query. It
// implements go-ethereum's core/state.Database: state.New(root, db) is all that the
// EVM needs.
//
// It carries the error latch of that execution: the first read that fails, for
// whatever reason, is remembered; from then on every read fails at once with that
// error and reaches neither store nor source. The end of the context counts as a
// failure of the next read.
//
// A StateDatabase is safe for concurrent use, except that [StateDatabase.Changes]
// comes after everything else.
type StateDatabase struct {
	ctx    context.Context //nolint:containedctx // state.Database has none to pass
	root   common.Hash
	store  Store
	source Source

	latch   atomic.Pointer[error] // set once
	faulted chan struct{}         // closed at the first fault
	first   sync.Once

	mu       sync.RWMutex // guards what follows; never held across a read
	accounts map[common.Address]*account
	tries    []*stateTrie
	codes    map[common.Hash][]byte
	touched  touches
}

var _ state.Database = (*StateDatabase)(nil)

// account is what the reader learned about an account.
type account struct {
	hash  common.Hash         // keccak256 of the address
	state *types.StateAccount // nil if the account does not exist
	code  atomic.Bool         // its code was read
}

// Open returns the state under root. Reads go to store (nil: it is empty) and then to source
// (nil: none). They end with ctx, which is that of the execution, not of this call.
func Open(ctx context.Context, root common.Hash, store Store, source Source) *StateDatabase {
	return &StateDatabase{
		ctx:      ctx,
		root:     root,
		store:    store,
		source:   source,
		accounts: make(map[common.Address]*account),
		codes:    make(map[common.Hash][]byte),
		faulted:  make(chan struct{}),
	}
}

// Faulted is closed at the first read that the store cannot answer.
func (d *StateDatabase) Faulted() <-chan struct{} { return d.faulted }

func (d *StateDatabase) noteFault() { d.first.Do(func() { close(d.faulted) }) }

// Root returns the state root.
func (d *StateDatabase) Root() common.Hash { return d.root }

// Err returns the error latch: the first failed read, nil if there was none. The result of an
// execution counts only if Err is nil after it.
func (d *StateDatabase) Err() error {
	if err := d.latch.Load(); err != nil {
		return *err
	}
	return nil
}

// Fail sets the error latch, so that the execution ends soon. It does nothing if the latch is
// already set.
func (d *StateDatabase) Fail(err error) { _ = d.fail(err) }

// fail sets the latch unless it is set, and returns what it holds.
func (d *StateDatabase) fail(err error) error {
	d.latch.CompareAndSwap(nil, &err)
	return d.Err()
}

// check fails a read if the latch is set or the context has ended.
func (d *StateDatabase) check() error {
	if err := d.Err(); err != nil {
		return err
	}
	if d.ctx.Err() != nil {
		return d.fail(context.Cause(d.ctx))
	}
	return nil
}

// node returns the node at path, from the store or else by a fault. key is the
// whole key that is being read, nil if unknown.
func (d *StateDatabase) node(owner common.Hash, path []byte, hash common.Hash, key []byte) ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.store != nil {
		blob, err := d.store.Node(owner, path, hash)
		if err != nil {
			return nil, d.fail(fmt.Errorf("read trie node %x at %x of %x: %w", hash, path, owner, err))
		}
		if len(blob) > 0 {
			return blob, nil
		}
	}
	if d.source == nil {
		return nil, d.fail(fmt.Errorf("trie node %x at %x of %x: %w", hash, path, owner, ErrUnavailable))
	}
	d.noteFault()
	blob, err := d.source.FetchNode(d.ctx, Fault{Root: d.root, Owner: owner, Path: bytes.Clone(path), Hash: hash, Key: key})
	if err == nil && crypto.Keccak256Hash(blob) != hash {
		err = ErrWrongBlob
	}
	if err != nil {
		return nil, d.fail(fmt.Errorf("fetch trie node %x at %x of %x: %w", hash, path, owner, err))
	}
	return blob, nil
}

// code returns the code with the given hash, nil for that of no code.
func (d *StateDatabase) code(hash common.Hash) ([]byte, error) {
	if hash == types.EmptyCodeHash || hash == (common.Hash{}) {
		return nil, nil
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.store != nil {
		code, err := d.store.Code(hash)
		if err != nil {
			return nil, d.fail(fmt.Errorf("read code %x: %w", hash, err))
		}
		if len(code) > 0 {
			return code, nil
		}
	}
	if d.source == nil {
		return nil, d.fail(fmt.Errorf("code %x: %w", hash, ErrUnavailable))
	}
	d.noteFault()
	code, err := d.source.FetchCode(d.ctx, hash)
	if err == nil && crypto.Keccak256Hash(code) != hash {
		err = ErrWrongBlob
	}
	if err != nil {
		return nil, d.fail(fmt.Errorf("fetch code %x: %w", hash, err))
	}
	return code, nil
}

// value walks from a trie's root to the value of key; nil if there is none.
func (d *StateDatabase) value(owner, root, key common.Hash) ([]byte, error) {
	if root == types.EmptyRootHash || root == (common.Hash{}) {
		return nil, d.check()
	}
	var (
		nibbles = Nibbles(key)
		hash    = root
		depth   = 0
	)
	for {
		blob, err := d.node(owner, nibbles[:depth:depth], hash, nibbles)
		if err != nil {
			return nil, err
		}
		step, err := Descend(blob, nibbles[depth:])
		if err != nil {
			return nil, d.fail(fmt.Errorf("trie node %x at %x of %x: %w", hash, nibbles[:depth], owner, err))
		}
		if step.Kind != StepChild {
			return step.Value, nil
		}
		depth, hash = depth+step.Depth, step.Hash
	}
}

// Type implements state.Database.
func (d *StateDatabase) Type() state.DatabaseType { return state.TypeMPT }

// Reader implements state.Database. The reader is safe for concurrent use.
func (d *StateDatabase) Reader(root common.Hash) (state.Reader, error) {
	if err := d.checkRoot(root); err != nil {
		return nil, err
	}
	return reader{d}, nil
}

// checkRoot refuses another root than the one that the database was opened for.
func (d *StateDatabase) checkRoot(root common.Hash) error {
	if root != d.root {
		return fmt.Errorf("state root is %x, not %x", d.root, root)
	}
	return nil
}

// Iteratee implements state.Database and always fails: only StateDB.Commit and dumps
// iterate, the first is never called here (see [StateDatabase.Changes]), and the
// second would fetch the whole state.
func (d *StateDatabase) Iteratee(common.Hash) (state.Iteratee, error) {
	return nil, errors.New("a state that is fetched on demand cannot be iterated")
}

// TrieDB implements state.Database: there is none.
func (d *StateDatabase) TrieDB() *triedb.Database { return nil }

// Commit implements state.Database and always fails: Changes returns the new nodes.
func (d *StateDatabase) Commit(*state.StateUpdate) error {
	return errors.New("a state that is fetched on demand is not committed: use Changes")
}
