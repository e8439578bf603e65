// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"context"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// listing is what a block access list tells, made by executing the block on its witness. It
// holds hashed keys, as tries do.
//
// A real list has the accounts and slots. Which codes are read follows from the accounts: this
// listing has those that were read. Which siblings a deletion pulls up follows from the values
// that the list gives, once the paths are there: this listing has them from the execution.
type listing struct {
	*witnessfile.File

	mu       sync.Mutex
	keys     map[stateKey]bool
	codes    map[common.Hash]bool
	siblings []trie.Fault
	touched  *trie.Touched
}

// list executes a block on its witness and says what it read, as far as it got. The result does
// not change any more.
func list(ctx context.Context, file *witnessfile.File) *listing {
	l := &listing{File: file, keys: make(map[stateKey]bool), codes: make(map[common.Hash]bool)}
	// With no store, every read of a node comes to us.
	read := trie.Open(ctx, file.PreRoot, nil, l)
	file.Execute(ctx, evm.NewExecutor(file.Config), read, file)
	l.touched = read.Touched()
	return l
}

// FetchNode implements trie.Source.
func (l *listing) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	l.mu.Lock()
	if fault.Key == nil {
		l.siblings = append(l.siblings, fault)
	} else {
		l.keys[stateKey{fault.Owner, keyHash(fault.Key)}] = true
	}
	l.mu.Unlock()
	return l.File.FetchNode(ctx, fault)
}

// FetchCode implements trie.Source.
func (l *listing) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	l.mu.Lock()
	l.codes[hash] = true
	l.mu.Unlock()
	return l.File.FetchCode(ctx, hash)
}

// keyHash undoes trie.Nibbles.
func keyHash(nibbles []byte) (hash common.Hash) {
	for i := range hash {
		hash[i] = nibbles[2*i]<<4 | nibbles[2*i+1]
	}
	return hash
}

// fetchListed gets what a block access list would name: accounts, and headers for BLOCKHASH; then
// slots and codes; then siblings.
func (a *attempt) fetchListed(ctx context.Context) error {
	l := a.listing
	var first errgroup.Group
	if a.file.HasParent && len(a.file.Headers) > 1 { // the importer has them anyway when it follows
		first.Go(func() error {
			_, err := a.headers.Header(ctx, a.file.Headers[0].ParentHash, a.file.Number-2)
			return err
		})
	}
	first.Go(func() error {
		faults, err := a.missingAccounts(l)
		if err != nil {
			return err
		}
		return a.source.Hint(ctx, faults, nil, nil)
	})
	if err := first.Wait(); err != nil {
		return err
	}
	faults, err := a.missingSlots(l)
	if err != nil {
		return err
	}
	var codes []common.Hash
	for hash := range l.codes {
		if code, err := a.store.Code(hash); err != nil {
			return err
		} else if code == nil {
			codes = append(codes, hash)
		}
	}
	if err := a.source.Hint(ctx, faults, codes, nil); err != nil {
		return err
	}
	faults = nil
	for _, fault := range l.siblings {
		if blob, err := a.store.Node(fault.Owner, fault.Path, fault.Hash); err != nil {
			return err
		} else if blob == nil {
			faults = append(faults, fault)
		}
	}
	return a.source.Hint(ctx, faults, nil, nil)
}

func (a *attempt) missingAccounts(l *listing) (faults []trie.Fault, err error) {
	for account := range l.keys {
		if account.owner != (common.Hash{}) {
			continue
		}
		_, missing, err := trie.Lookup(a.store, a.file.PreRoot, common.Hash{}, a.file.PreRoot, account.key)
		if err != nil {
			return nil, err
		}
		if missing != nil {
			faults = append(faults, *missing)
		}
	}
	return faults, nil
}

// missingSlots returns faults for the slots that are not in the store. The accounts must be.
func (a *attempt) missingSlots(l *listing) (faults []trie.Fault, err error) {
	roots := make(map[common.Hash]common.Hash)
	for slot := range l.keys {
		if slot.owner == (common.Hash{}) {
			continue
		}
		root, known := roots[slot.owner]
		if !known {
			if root, err = storageRoot(a.store, a.file.PreRoot, slot.owner); err != nil {
				return nil, err
			}
			roots[slot.owner] = root
		}
		_, missing, err := trie.Lookup(a.store, a.file.PreRoot, slot.owner, root, slot.key)
		if err != nil {
			return nil, err
		}
		if missing != nil {
			faults = append(faults, *missing)
		}
	}
	return faults, nil
}

func storageRoot(store trie.Store, stateRoot, owner common.Hash) (common.Hash, error) {
	value, _, err := trie.Lookup(store, stateRoot, common.Hash{}, stateRoot, owner)
	if err != nil || value == nil {
		return common.Hash{}, err
	}
	var account types.StateAccount
	if err := rlp.DecodeBytes(value, &account); err != nil {
		return common.Hash{}, err
	}
	return account.Root, nil
}
