// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/crypto"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// StateReport is the result of a traversal of the state on disk.
type StateReport struct {
	Root         common.Hash `json:"root"`
	AccountNodes int         `json:"accountNodes"` // on disk, and reachable from the root
	StorageNodes int         `json:"storageNodes"` // likewise
	Accounts     int         `json:"accounts"`
	Slots        int         `json:"slots"`
	Codes        int         `json:"codes"`
	Flat         bool        `json:"flat"`           // the flat state is there, and was compared with the tries
	Flaw         string      `json:"flaw,omitempty"` // something that is missing, wrong or unreferenced; empty: the state is complete
}

// Complete says whether the whole state is on disk, and no other trie node, and whether the flat state is the same state if
// there is one.
func (v StateReport) Complete() bool { return v.Flaw == "" }

// String returns the report in one line.
func (v StateReport) String() string {
	if !v.Complete() {
		return "NOT a complete state: " + v.Flaw
	}
	flat := "flat state the same"
	if !v.Flat {
		flat = "no flat state yet"
	}
	return fmt.Sprintf("state %x: %d account nodes, %d storage nodes, %d accounts, %d slots, %d codes, nothing missing, nothing unreferenced, %s",
		v.Root, v.AccountNodes, v.StorageNodes, v.Accounts, v.Slots, v.Codes, flat)
}

// flaw returns an error of the state, as opposed to one of reading it.
func flaw(format string, args ...any) error { return &flawError{fmt.Sprintf(format, args...)} }

type flawError struct{ detail string }

func (e *flawError) Error() string { return e.detail }

// VerifyProgress says how far a verification is.
type VerifyProgress struct {
	Share float64 // of the account key space, 0 to 1; a large contract counts when it has ended
	Nodes int     // that were read
	Rate  float64 // nodes per second, on average
	ETA   time.Duration
}

// verifyInterval is the time between reports of progress.
const verifyInterval = 8 * time.Second

// VerifyState traverses the state on disk, in go-ethereum's path scheme, and compares every node
// with the hash that its parent names, and the flat state with the leaves. In a full node that is the state below those in
// memory. It reads all of it, with as many goroutines as there are processors, and calls report every few seconds (nil: never).
// The error is one of reading, or that of ctx; flaws of the state are in the report.
//
// The keys on disk are compared, in their order, with what the nodes refer to. A node's key is a prefix of
// those of its children, so the order is depth-first: each key must be exactly that of the node that is
// expected next. That finds every node that is missing, wrong or unreferenced. The same goes for leaves.
// Each goroutine does so for a range of keys; the ranges have no gaps.
func (d *DB) VerifyState(ctx context.Context, report func(VerifyProgress)) (v StateReport, err error) {
	check := &verification{chain: d.chain, began: time.Now()}
	err = check.run(ctx, &v, report)
	if found := new(flawError); errors.As(err, &found) {
		v.Flaw, err = found.detail, nil
	}
	return v, err
}

// verification is one run of VerifyState.
type verification struct {
	chain *Chain
	began time.Time
	flat  bool     // the flat state is compared
	codes sync.Map // those that were seen, by hash

	nodes                             atomic.Int64
	accountNodes, storageNodes        atomic.Int64
	accounts, slots, distinct, finish atomic.Int64 // finish: of the key space, in 1/keySpace
}

// keySpace is the whole account key space in verification.finish.
const keySpace = 1 << 32

func (c *verification) run(ctx context.Context, v *StateReport, report func(VerifyProgress)) error {
	top, err := c.chain.disk.lookup(rawdb.TrieNodeAccountPrefix)
	if err != nil {
		return err
	}
	if top == nil {
		return flaw("no root")
	}
	v.Root = crypto.Keccak256Hash(top)
	noted, ok := c.chain.generation()
	c.flat = c.chain.flat.Load() || ok && noted.Done && rawdb.ReadSnapshotRoot(c.chain.disk) == v.Root
	sections, err := c.divide(v.Root)
	if err != nil {
		return err
	}
	ended, reported := make(chan struct{}), make(chan struct{})
	go func() { // ends below
		defer close(reported)
		c.report(ended, report)
	}()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, s := range sections {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			err := s.verify(ctx)
			c.finish.Add(s.share())
			return err
		})
	}
	err = group.Wait()
	close(ended)
	<-reported
	v.AccountNodes, v.StorageNodes = int(c.accountNodes.Load()), int(c.storageNodes.Load())
	v.Accounts, v.Slots, v.Codes, v.Flat = int(c.accounts.Load()), int(c.slots.Load()), int(c.distinct.Load()), c.flat
	return err
}

// report reports progress until the end.
func (c *verification) report(ended <-chan struct{}, report func(VerifyProgress)) {
	if report == nil {
		return
	}
	for tick := time.NewTicker(verifyInterval); ; {
		select {
		case <-tick.C:
			took := time.Since(c.began)
			p := VerifyProgress{Share: float64(c.finish.Load()) / keySpace, Nodes: int(c.nodes.Load())}
			p.Rate = float64(p.Nodes) / took.Seconds()
			if p.Share > 0 {
				p.ETA = time.Duration(float64(took) * (1 - p.Share) / p.Share).Round(time.Second)
			}
			report(p)
		case <-ended:
			tick.Stop()
			return
		}
	}
}

// code checks the code of an account, unless another account had it.
func (c *verification) code(hash common.Hash) error {
	if _, seen := c.codes.LoadOrStore(hash, nil); seen {
		return nil
	}
	c.distinct.Add(1)
	code, err := c.chain.Code(hash)
	if err == nil && code == nil {
		return flaw("code %x is missing", hash)
	}
	return err
}

// divide divides the keys into sections. The nodes above them are read here.
func (c *verification) divide(root common.Hash) (sections []*section, err error) {
	ahead := []reference{{nil, root}} // a stack: the last one is next
	for len(ahead) > 0 {
		at := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		s := &section{of: c, top: at}
		if len(sections) > 0 {
			sections[len(sections)-1].next = at.path
		}
		sections = append(sections, s)
		if len(at.path) >= sectionDepth {
			continue
		}
		blob, err := c.chain.disk.lookup(nodeKey(common.Hash{}, at.path))
		if err != nil {
			return nil, err
		}
		children, err := trie.Children(blob)
		if blob == nil || err != nil || hasValue(children) {
			continue // verify finds what is wrong
		}
		s.alone = true
		for i := len(children) - 1; i >= 0; i-- {
			ahead = append(ahead, reference{append(append([]byte(nil), at.path...), children[i].Path...), children[i].Hash})
		}
	}
	var last *section
	for _, s := range sections {
		if s.alone {
			continue
		}
		if last != nil { // the first one begins at the first key
			from, _ := trie.KeyRange(s.top.path)
			s.first, last.limit = from[:], from[:]
		}
		last = s
	}
	return sections, nil
}

// sectionDepth is the length of the paths of sections, in nibbles.
const sectionDepth = 2

func hasValue(children []trie.Child) bool {
	for _, c := range children {
		if c.Value != nil {
			return true
		}
	}
	return false
}
