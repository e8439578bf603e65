package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/ethdb/leveldb"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// verdict is what a traversal of a state on disk found.
type verdict struct {
	Root         common.Hash `json:"root"`
	AccountNodes int         `json:"accountNodes"` // on disk, all of them reachable from the root
	StorageNodes int         `json:"storageNodes"` // likewise
	Accounts     int         `json:"accounts"`
	Slots        int         `json:"slots"`
	Codes        int         `json:"codes"`
	Flaw         string      `json:"flaw,omitempty"` // the first one

	sound bool
}

func (v verdict) String() string {
	if !v.sound {
		return "NOT a complete state: " + v.Flaw
	}
	return fmt.Sprintf("root %x: %d account nodes, %d storage nodes, %d accounts, %d slots, %d codes, nothing missing, nothing beside",
		v.Root, v.AccountNodes, v.StorageNodes, v.Accounts, v.Slots, v.Codes)
}

// CheckState traverses the state in a chaindata that nobody uses, and says what it found. The error says
// what is missing, wrong, or there without being referred to.
func CheckState(chaindata string) (found string, root common.Hash, err error) {
	v, err := verify(chaindata)
	if err == nil && !v.sound {
		err = errors.New(v.String())
	}
	return v.String(), v.Root, err
}

// verify traverses the state of go-ethereum's path scheme in a chaindata that nobody uses. The
// error is one of reading; flaws of the state are in the verdict.
func verify(chaindata string) (verdict, error) {
	kv, err := leveldb.New(chaindata, 64, 256, "", true)
	if err != nil {
		return verdict{}, err
	}
	defer kv.Close()
	return traverse(kv)
}

// traverse compares the keys on disk, in their order, with what the nodes refer to. A node's key is
// a prefix of those of its children, so that order is the depth-first one: at each key there
// must be exactly the node that is expected next, by its hash. That finds every node missing,
// wrong, or referred to by nobody.
func traverse(kv ethdb.KeyValueStore) (v verdict, err error) {
	flaw := func(format string, args ...any) (verdict, error) {
		v.Flaw = fmt.Sprintf(format, args...)
		return v, nil
	}
	top, err := kv.Get(rawdb.TrieNodeAccountPrefix)
	if err != nil {
		return flaw("no root: %v", err)
	}
	v.Root = crypto.Keccak256Hash(top)
	var storages []expected // roots, in the order of the accounts
	codes := make(map[common.Hash]bool)
	found, err := follow(kv, rawdb.TrieNodeAccountPrefix, []expected{{hash: v.Root}}, func(path, value []byte) error {
		v.Accounts++
		var account types.StateAccount
		if err := rlp.DecodeBytes(value, &account); err != nil {
			return fmt.Errorf("account at %x: %w", path, err)
		}
		if account.Root != types.EmptyRootHash {
			key, _ := trie.Span(path)
			storages = append(storages, expected{path: key[:], hash: account.Root})
		}
		if code := common.Hash(account.CodeHash); code != types.EmptyCodeHash {
			codes[code] = true
		}
		return nil
	})
	if v.AccountNodes = found; err != nil {
		return flaw("%v", err)
	}
	slices.Reverse(storages)
	found, err = follow(kv, rawdb.TrieNodeStoragePrefix, storages, func([]byte, []byte) error { v.Slots++; return nil })
	if v.StorageNodes = found; err != nil {
		return flaw("%v", err)
	}
	for code := range codes {
		if crypto.Keccak256Hash(rawdb.ReadCode(kv, code)) != code {
			return flaw("code %x is not there", code)
		}
	}
	v.Codes, v.sound = len(codes), true
	return v, nil
}

// expected is a node that something refers to.
type expected struct {
	path []byte // after the prefix of its kind: of storage nodes, the account hash and then nibbles
	hash common.Hash
}

// follow reads all nodes of a kind. next has those that are expected, the first one last.
func follow(kv ethdb.KeyValueStore, prefix []byte, next []expected, leaf func(path, value []byte) error) (found int, err error) {
	it := kv.NewIterator(prefix, nil)
	defer it.Release()
	for it.Next() {
		path := it.Key()[len(prefix):]
		if len(next) == 0 {
			return found, fmt.Errorf("node at %x is referred to by nobody", it.Key())
		}
		want := next[len(next)-1]
		next = next[:len(next)-1]
		switch c := bytes.Compare(path, want.path); {
		case c < 0:
			return found, fmt.Errorf("node at %x is referred to by nobody", it.Key())
		case c > 0:
			return found, fmt.Errorf("node %x at %x%x is not there", want.hash, prefix, want.path)
		}
		if got := crypto.Keccak256Hash(it.Value()); got != want.hash {
			return found, fmt.Errorf("node at %x is %x, wanted %x", it.Key(), got, want.hash)
		}
		found++
		children, err := trie.Children(it.Value())
		if err != nil {
			return found, fmt.Errorf("node at %x: %w", it.Key(), err)
		}
		path = bytes.Clone(path)
		for _, c := range children {
			if c.Value != nil {
				if err := leaf(slices.Concat(path, c.Path), c.Value); err != nil {
					return found, err
				}
			}
		}
		for _, c := range slices.Backward(children) {
			if c.Value == nil {
				next = append(next, expected{slices.Concat(path, c.Path), c.Hash})
			}
		}
	}
	if err := it.Error(); err != nil {
		return found, err
	}
	if n := len(next); n > 0 {
		return found, fmt.Errorf("node %x at %x%x is not there, nor are %d more", next[n-1].hash, prefix, next[n-1].path, n-1)
	}
	return found, nil
}

// sizeOfDir is what the files in a directory take, ancients included.
func sizeOfDir(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // what is gone takes no room
		}
		if file, err := entry.Info(); err == nil && !file.IsDir() {
			bytes += file.Size()
		}
		return nil
	})
	return bytes
}
