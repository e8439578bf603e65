// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/types/bal"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/backfill"
	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/history"
	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
	"github.com/sunbeam-eth/sunbeam/beamsync/peer"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/db"
	"github.com/sunbeam-eth/sunbeam/internal/health"
	"github.com/sunbeam-eth/sunbeam/logindex"
	"github.com/sunbeam-eth/sunbeam/rpc"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Adapters from one part of the node to the interface of another.

// states opens states for queries. What is missing is fetched in a class below that of blocks.
type states struct {
	node  *Node
	class sched.Class
	query bool // do not wait for peers that may come
}

func (s states) Open(ctx context.Context, root common.Hash) (rpc.StateDatabase, error) {
	session := s.node.fetcher.Session(s.class)
	if s.query {
		session = s.node.fetcher.Query(s.class)
	}
	if full := s.node.full(); full != nil && !full.Has(root) {
		local := rebuiltState{full, root, s.node.local}
		return trie.Open(ctx, root, local, rebuiltSource{local, session, func() bool { return !s.node.importer.Readiness().Ready }}), nil
	}
	return trie.Open(ctx, root, s.node.stateAt(root), session), nil
}

func (s states) Window() uint64 { return stateWindow }

// rebuiltState is a state that a full node does not have yet: it lost it in a kill and is executing blocks again, or the
// block is new.
type rebuiltState struct {
	full *db.Full
	root common.Hash
	rest trie.Store // until it is there
}

func (r rebuiltState) store() trie.Store {
	if r.full.Has(r.root) {
		return r.full.Store(r.root)
	}
	return r.rest
}

// Node implements trie.Store.
func (r rebuiltState) Node(owner common.Hash, path []byte, hash common.Hash) ([]byte, error) {
	return r.store().Node(owner, path, hash)
}

// Code implements trie.Store.
func (r rebuiltState) Code(hash common.Hash) ([]byte, error) { return r.store().Code(hash) }

// rebuiltPoll is how often a query that waits for peers looks whether the state has been rebuilt.
const rebuiltPoll = 50 * time.Millisecond

// rebuiltSource fetches from peers, or reads the state as soon as it is rebuilt, whichever comes first.
type rebuiltSource struct {
	local      rebuiltState
	session    trie.Source
	rebuilding func() bool // whether the state may come; otherwise it was dropped
}

// FetchNode implements trie.Source.
func (r rebuiltSource) FetchNode(ctx context.Context, f trie.Fault) ([]byte, error) {
	return r.first(ctx, func(ctx context.Context) ([]byte, error) { return r.session.FetchNode(ctx, f) },
		func() ([]byte, error) { return r.local.Node(f.Owner, f.Path, f.Hash) })
}

// FetchCode implements trie.Source.
func (r rebuiltSource) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	return r.first(ctx, func(ctx context.Context) ([]byte, error) { return r.session.FetchCode(ctx, hash) },
		func() ([]byte, error) { return r.local.Code(hash) })
}

func (r rebuiltSource) first(ctx context.Context, fetch func(context.Context) ([]byte, error), read func() ([]byte, error)) ([]byte, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	type reply struct {
		blob []byte
		err  error
	}
	fetched := make(chan reply, 1)
	go func() {
		blob, err := fetch(waiting)
		fetched <- reply{blob, err}
	}()
	tick := time.NewTicker(rebuiltPoll)
	defer tick.Stop()
	for {
		select {
		case got := <-fetched:
			if !errors.Is(got.err, trie.ErrUnavailable) {
				return got.blob, got.err
			}
			if !r.rebuilding() && !r.local.full.Has(r.local.root) {
				return nil, fmt.Errorf("%w: %w", rpc.ErrNotKept, got.err)
			}
			fetched = nil // it is here, or will be
		case <-tick.C:
			if !r.local.full.Has(r.local.root) {
				continue
			}
			if blob, err := read(); err == nil && blob != nil {
				return blob, nil
			}
		}
	}
}

// ancestors finds headers for BLOCKHASH.
type ancestors struct {
	chain   *chain.Chain
	fetcher *fetch.Fetcher
}

func (a ancestors) Header(ctx context.Context, hash common.Hash, _ uint64) (*types.Header, error) {
	if header := a.chain.Header(hash); header != nil {
		return header, nil
	}
	headers, err := a.fetcher.Headers(ctx, hash, 1)
	if err != nil {
		return nil, err
	}
	return headers[0], nil
}

// LocalHeader finds a header without fetching it.
func (a ancestors) LocalHeader(hash common.Hash) *types.Header { return a.chain.Header(hash) }

// predictor fetches what a block is expected to read, in a class below that of blocks.
type predictor struct {
	ancestors
	prefetcher *prefetch.Prefetcher
	class      sched.Class
}

// Prefetch returns early, with an error, when ctx ends or a fetch fails.
func (p predictor) Prefetch(ctx context.Context, block *types.Block, parent *types.Header) error {
	return p.prefetcher.Prefetch(ctx, block, parent, p.ancestors, p.fetcher.Session(p.class))
}

// tracePrefetcher fetches what a block reads, for a trace of it. A full node has it.
type tracePrefetcher struct {
	predictor
	full func() *db.Full // nil result: beaming
	log  *slog.Logger
}

// Prefetch implements rpc.Prefetcher.
func (t tracePrefetcher) Prefetch(ctx context.Context, block *types.Block, parent *types.Header) {
	if t.full() != nil {
		return
	}
	if block.BlockAccessListHash() != nil && block.AccessList() == nil {
		var list bal.BlockAccessList
		if encoded := t.chain.AccessList(block.Hash()); len(encoded) > 0 && rlp.DecodeBytes(encoded, &list) == nil {
			block = block.WithAccessListUnsafe(&list)
		}
	}
	if err := t.predictor.Prefetch(ctx, block, parent); err != nil && ctx.Err() == nil {
		t.log.Debug("Prefetch for a trace ended early", "number", block.NumberU64(), "err", err)
	}
}

// beam reports the progress of the whole node.
type beam struct{ node *Node }

// Progress says "not syncing" also while the next block is pending, see importer.Readiness: consensus clients treat
// a node that is syncing as one that is down.
func (b beam) Progress() rpc.Progress {
	ready := b.node.importer.Readiness()
	return rpc.Progress{Syncing: !ready.Ready, Reason: ready.Reason, NoHead: ready.NoHead, Start: b.node.began, Current: ready.Head, Highest: ready.Target}
}

// beamStatus is the answer to beam_status.
type beamStatus struct {
	Phase        string `json:"phase"`
	Network      string `json:"network"`
	Ready        bool   `json:"ready"`            // as /ready says
	Reason       string `json:"reason,omitempty"` // the weightiest one why it is not
	Peers        int    `json:"peers"`
	StatePeers   int    `json:"statePeers"`   // those with a protocol for state
	ServingPeers int    `json:"servingPeers"` // those that have sent verified state
	HotBytes     uint64 `json:"hotBytes"`     // state held on disk
	Oldest       uint64 `json:"oldestBlock"`

	Checks   map[string]health.Check `json:"checks"`             // of readiness
	Backfill *backfill.Progress      `json:"backfill,omitempty"` // state that no block touched; absent if it is not collected
	Flat     *flatStatus             `json:"flat,omitempty"`     // of a full node
	History  history.Progress        `json:"history"`            // blocks and receipts behind the head
	LogIndex logindex.Progress       `json:"logIndex"`
	importer.Status
}

// flatStatus is how much of the flat state has been made, which go-ethereum wants in addition to the tries.
type flatStatus struct {
	Share float64 `json:"share"` // of the key space, 0 to 1
	Done  bool    `json:"done"`
}

// Health implements rpc.Beam.
func (b beam) Health() health.Report { return b.node.health() }

func (b beam) Status() any { return b.status() }

func (b beam) Overview() any { return b.node.pageState() }

func (b beam) status() beamStatus {
	status := beamStatus{
		Phase: b.node.importer.Phase().String(), Network: b.node.network.name, HotBytes: b.node.store.Hot().Bytes(), Oldest: b.node.chain.Oldest(), Status: b.node.importer.Status(),
		History: b.node.history.Progress(), LogIndex: b.node.logs.Progress(),
	}
	verdict := b.node.health()
	status.Ready, status.Reason, status.Checks = verdict.Ready(), verdict.Reason(), verdict.Checks
	if full := b.node.full(); full != nil {
		share, done := full.FlatProgress()
		status.Phase, status.Flat = importer.FullNode.String(), &flatStatus{share, done} // at genesis the importer still beams
	} else if b.node.backfill != nil {
		progress := b.node.backfill.Progress()
		status.Backfill = &progress
	}
	status.Peers, status.StatePeers = b.node.countPeers()
	status.ServingPeers = b.node.fetcher.Serving()
	return status
}

// errBanned is why a peer is disconnected that returns while it is banned.
var errBanned = errors.New("it is banned: it sent invalid data before")

// blamer gives the penalties of the book of bans their effect on connections.
type blamer struct{ *Node }

func (b blamer) Blame(id string, reason peer.Blame, detail string) {
	switch {
	case reason == peer.BlameInvalid:
		b.host.Drop(id, fmt.Errorf("%s: %s", reason, detail))
	case reason == peer.BlameUseless && b.host.MakeRoom(id): // not for time-outs: an outage of our own network causes them at all peers
		b.log.Debug("Useless peer disconnected for another one", "peer", id, "detail", detail)
	}
}
