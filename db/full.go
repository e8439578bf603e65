// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/ethdb"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/triedb"
	"github.com/ethereum/go-ethereum/triedb/pathdb"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Memory of go-ethereum's path database, in bytes.
const (
	fullClean = 16 << 20 // nodes as on disk; our own cache is in front
	fullFlat  = 8 << 20  // flat state as on disk
	// fullBuffer is the size of the changes below the newest 128 states that are collected before they
	// are written. It bounds what is executed again after a kill, so it is a quarter of go-ethereum's.
	fullBuffer = 16 << 20
)

// phaseFull is the value of the phase key.
const phaseFull = "full"

// isFull says whether the node has switched to full mode.
func (c *Chain) isFull() (bool, error) {
	raw, err := c.disk.lookup([]byte(phaseKey))
	return string(raw) == phaseFull, err
}

// IsFull says whether the node has switched to full mode: see MarkFull.
func (d *DB) IsFull() (bool, error) { return d.chain.isFull() }

// MarkFull switches the node to full mode, durably. Full must have a complete state. From then on Hot
// may be retired; the next Open retires it at the latest. Damage counts as repaired. It fails if the state was found to
// be damaged meanwhile.
func (d *DB) MarkFull() error {
	if what := d.FirstDamage(); what != "" {
		return fmt.Errorf("%w: %s", trie.ErrDamaged, what)
	}
	if damage, known := d.Damage(); known && !damage.StateChecked {
		return fmt.Errorf("%w: %s", trie.ErrDamaged, damage.What)
	}
	if err := d.setPhase(phaseFull); err != nil {
		return err
	}
	return d.damage.record(nil)
}

// UnmarkFull switches back to beaming, for a node whose state turned out to be unusable. Hot accepts
// nodes again.
func (d *DB) UnmarkFull() error {
	if err := d.setPhase(""); err != nil {
		return err
	}
	return d.hot.reopen()
}

func (d *DB) setPhase(phase string) error {
	b := d.chain.disk.NewBatch()
	var err error
	if phase == "" {
		err = b.Delete([]byte(phaseKey))
	} else {
		err = b.Put([]byte(phaseKey), []byte(phase))
	}
	if err == nil {
		err = b.Write()
	}
	if err == nil {
		err = d.chain.disk.SyncKeyValue()
	}
	return err
}

// Full is the complete states of the newest blocks: go-ethereum's path database. It is safe
// for concurrent use.
//
// Reads go through the tries, and every node is compared with the hash that its parent has. The flat
// state is for go-ethereum and for peers that request ranges; it is not verified.
type Full struct {
	tdb    *triedb.Database
	mpt    *state.MPTDatabase
	chain  *Chain
	health *failure
	cache  *trie.Cache
	damage *damageLog
	closed atomic.Bool // it is read no more: what is missing is no damage
}

// report reports that the state lacks something, or has something wrong.
func (f *Full) report(kind DamageKind, what string) {
	if !f.closed.Load() {
		f.damage.report(kind, what)
	}
}

// OpenFull opens the states of a full node on disk. Reads go through cache.
func (d *DB) OpenFull(cache *trie.Cache) (*Full, error) {
	d.full.Lock()
	defer d.full.Unlock()
	if d.full.open == nil {
		full, err := d.newFull(cache)
		if err != nil {
			return nil, err
		}
		d.full.open = full
	}
	return d.full.open, nil
}

// EnableFull makes the state in Complete the first one of Full, with its flat state if that was kept; otherwise
// go-ethereum derives it in the background. Complete must not be written any more. The node is still beaming until MarkFull.
func (d *DB) EnableFull(root common.Hash, cache *trie.Cache) (*Full, error) {
	d.full.Lock()
	defer d.full.Unlock()
	if d.full.open != nil {
		return nil, errors.New("full state is open already")
	}
	if complete, err := d.Complete().Root(); err != nil {
		return nil, err
	} else if complete != root {
		return nil, fmt.Errorf("the complete state is %x, not %x", complete, root)
	}
	if err := d.resetFull(); err != nil {
		return nil, err
	}
	full, err := d.newFull(cache) // it starts nothing, because of the flag
	if err != nil {
		return nil, err
	}
	enable := full.tdb.Enable
	if d.chain.flat.Load() {
		enable = full.tdb.AdoptSyncedState
	}
	if err := enable(root); err != nil {
		d.closePathDB(full, common.Hash{})
		return nil, fmt.Errorf("enable state %x: %w", root, err)
	}
	d.full.open = full
	return full, d.health.check()
}

// DropFull undoes EnableFull: another state is to be completed.
func (d *DB) DropFull() error {
	d.closeFull(false)
	return d.resetFull()
}

// resetFull tells go-ethereum that the state is not complete yet, and removes the journal and the notes about flat state of an
// earlier state.
func (d *DB) resetFull() error {
	b := d.chain.disk.NewBatch()
	rawdb.WriteSnapSyncStatusFlag(b, rawdb.StateSyncRunning)
	if err := d.endGeneration(b); err != nil {
		return err
	}
	if d.root == "" {
		return nil
	}
	if err := os.RemoveAll(d.journalDir()); err != nil {
		return fmt.Errorf("remove journal of the state: %w", err)
	}
	return nil
}

func (d *DB) journalDir() string { return filepath.Join(d.root, "triedb") }

// withAncient is a database with an ancient directory: the freezer of state histories is there before
// one for blocks is.
type withAncient struct {
	ethdb.Database
	dir string
}

// AncientDatadir implements ethdb.AncientReader.
func (w withAncient) AncientDatadir() (string, error) { return w.dir, nil }

func (d *DB) newFull(cache *trie.Cache) (*Full, error) {
	disk := d.chain.db
	config := &pathdb.Config{
		TrieCleanSize: fullClean, StateCleanSize: fullFlat, WriteBufferSize: fullBuffer,
		StateHistory: params.FullImmutabilityThreshold, TrienodeHistory: -1, FullValueCheckpoint: pathdb.Defaults.FullValueCheckpoint,
	}
	if d.root != "" {
		config.JournalDirectory = d.journalDir()
		ancient := filepath.Join(d.root, "chaindata", "ancient")
		// go-ethereum takes an ancient directory without this subdirectory for an older layout.
		if err := os.MkdirAll(filepath.Join(ancient, "chain"), 0o700); err != nil {
			return nil, fmt.Errorf("create directory for state histories: %w", err)
		}
		if err := checkHistories(filepath.Join(ancient, "state"), max(rawdb.ReadPersistentStateID(d.chain.disk), journaledStateID(config.JournalDirectory))); err != nil {
			return nil, err
		}
		disk = withAncient{disk, ancient}
	}
	full := &Full{chain: d.chain, health: d.health, cache: cache, damage: d.damage}
	disk = guard{disk, full}
	full.tdb = triedb.NewDatabase(disk, &triedb.Config{PathDB: config})
	full.mpt = state.NewMPTDatabase(full.tdb, state.NewCodeDB(disk))
	if err := d.health.check(); err != nil {
		d.closePathDB(full, common.Hash{}) // it has background goroutines
		return nil, err
	}
	return full, nil
}

// closeFull closes Full if it is open. With keep it writes the states in memory to the journal;
// otherwise the blocks since the state on disk are executed again.
func (d *DB) closeFull(keep bool) {
	d.full.Lock()
	defer d.full.Unlock()
	full := d.full.open
	if full == nil {
		return
	}
	d.full.open = nil
	var root common.Hash
	if keep {
		if header := rawdb.ReadHeadHeader(d.chain.db); header != nil && full.Has(header.Root) {
			root = header.Root
		}
	}
	d.closePathDB(full, root)
}

// pathDBCloseTimeout is how long closing a path database may take after a disk failed.
const pathDBCloseTimeout = 2 * time.Second

// closePathDB closes a path database. Unless keep is zero, it first writes the states in memory up to keep to the
// journal. After a disk failed, closing may block for ever: go-ethereum's background flush drops the stop request
// when it fails (v1.17.10, pathdb's checkAndFlush). The process ends soon then.
func (d *DB) closePathDB(full *Full, keep common.Hash) {
	full.closed.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if keep != (common.Hash{}) {
			_ = full.tdb.Journal(keep)
		}
		_ = full.tdb.Close()
	}()
	select {
	case <-ended:
		return
	case <-d.health.failed: // perhaps during the close
	}
	select {
	case <-ended:
	case <-time.After(pathDBCloseTimeout):
	}
}

// Has says whether the state under root is available.
func (f *Full) Has(root common.Hash) bool {
	_, err := f.tdb.NodeReader(root)
	return err == nil
}

// Store reads nodes of one state, and codes. The state is complete: what is missing or wrong is damage, which is reported
// (DB.DamageFound) and then a miss, so that it can be fetched.
func (f *Full) Store(root common.Hash) trie.Store { return f.cache.Over(stateStore{f, root}) }

// stateStore reads one state of Full.
type stateStore struct {
	full *Full
	root common.Hash
}

// Node implements trie.Store. The reader is looked up each time: the state may have moved to the disk.
func (l stateStore) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	for range 2 { // twice: the state may move to the disk during a read, or be dropped
		reader, err := l.full.tdb.NodeReader(l.root)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", trie.ErrUnavailable, err)
		}
		if blob, err := reader.Node(owner, path, hash); err == nil {
			return blob, nil
		}
	}
	if err := l.full.health.check(); err != nil {
		return nil, err
	}
	if !l.full.Has(l.root) {
		return nil, fmt.Errorf("state %x was dropped: %w", l.root, trie.ErrUnavailable)
	}
	l.full.report(DamagedNode, describe(owner, path, hash))
	return nil, nil
}

// Code implements trie.Store.
func (l stateStore) Code(hash common.Hash) ([]byte, error) {
	code, err := l.full.chain.Code(hash)
	if err == nil && code == nil {
		l.full.report(DamagedCode, fmt.Sprintf("code %x", hash))
	}
	return code, err
}

// Open returns the state under root for one execution. The state after a valid block becomes one of
// Full. If something is missing, the error latch wraps [trie.ErrDamaged].
func (f *Full) Open(ctx context.Context, root common.Hash) *FullState {
	return &FullState{StateDatabase: trie.Open(ctx, root, f.Store(root), noSource{}), full: f}
}

// noSource is the source of an execution on a complete state: nothing is fetched for it.
type noSource struct{}

// FetchNode implements trie.Source.
func (noSource) FetchNode(context.Context, trie.Fault) ([]byte, error) { return nil, trie.ErrDamaged }

// FetchCode implements trie.Source.
func (noSource) FetchCode(context.Context, common.Hash) ([]byte, error) { return nil, trie.ErrDamaged }

// FullState is a state that can be committed to. It reads as a trie.StateDatabase does, with the error
// latch, but fetches nothing: a missing node is an error.
type FullState struct {
	*trie.StateDatabase
	full *Full
}

var _ state.Database = (*FullState)(nil)

// Err is the error latch. A disk that failed counts as a read that did.
func (s *FullState) Err() error {
	if err := s.StateDatabase.Err(); err != nil {
		return err
	}
	return s.full.health.check()
}

// Reader implements state.Database. StateDB asks for that of the new state after Commit.
func (s *FullState) Reader(root common.Hash) (state.Reader, error) {
	if root != s.Root() {
		return s.full.mpt.Reader(root)
	}
	return s.StateDatabase.Reader(root)
}

// Iteratee implements state.Database: blocks from before Cancun may destroy storage.
func (s *FullState) Iteratee(root common.Hash) (state.Iteratee, error) {
	return verifiedState{s.full.Store(root), root}, nil
}

// Commit implements state.Database.
func (s *FullState) Commit(update *state.StateUpdate) error { return s.full.mpt.Commit(update) }

// Finish commits the state after a valid block to Full. It returns no nodes: the caller has nothing to store.
func (s *FullState) Finish(executed *state.StateDB, rules params.Rules, number uint64) ([]trie.Node, map[common.Hash][]byte, error) {
	if err := s.Err(); err != nil {
		return nil, nil, err
	}
	if _, err := executed.Commit(rules, number); err != nil {
		return nil, nil, fmt.Errorf("commit state: %w", err)
	}
	return nil, nil, s.Err()
}

// FlatProgress says how much of the flat state (accounts and slots without their tries) is there: all of it, or if it was not kept
// with the tries, what go-ethereum has derived from them in the background. share is from 0 to 1.
func (f *Full) FlatProgress() (share float64, done bool) {
	if f.tdb.SnapshotCompleted() {
		return 1, true
	}
	noted, ok := f.chain.generation()
	if !ok || len(noted.Marker) < 8 {
		return 0, false
	}
	return float64(binary.BigEndian.Uint64(noted.Marker)) / (1 << 64), false
}
