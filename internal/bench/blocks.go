// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// cacheBytes holds every node of the largest witness several times over: what was fetched once
// is not fetched again, as with Hot on disk.
const cacheBytes = 256 << 20

// BlockResult is what executing one block took. Seconds and trips are link time only when
// the link is virtual, and real time otherwise.
type BlockResult struct {
	ChainID      uint64  `json:"chainId"`
	Number       uint64  `json:"number"`
	Strategy     string  `json:"strategy"`
	RTT          float64 `json:"rtt"`     // of the link, seconds
	Outcome      string  `json:"outcome"` // valid, invalid, incomplete
	Error        string  `json:"error"`
	Transactions int     `json:"txs"`
	Gas          uint64  `json:"gas"`
	NodesNeeded  int     `json:"nodesNeeded"`  // in the witness
	NodesFetched uint64  `json:"nodesFetched"` // verified nodes that came in
	Codes        uint64  `json:"codes"`
	Bytes        uint64  `json:"bytes"` // of nodes and codes
	Trips        float64 `json:"trips"` // sequential round trips: virtual time / round-trip time; counted by the session if that is 0
	Requests     uint64  `json:"requests"`
	Seconds      float64 `json:"seconds"`
	KeysNeeded   int     `json:"keysNeeded"` // accounts and slots that the block reads
	KeysAsked    int     `json:"keysAsked"`  // different ones
	KeysVain     int     `json:"keysVain"`   // of these, not read by the block: here they cost requests, on a whole state nodes too
	CPU          CPU     `json:"cpu"`
	Explain      []Trip  `json:"explain,omitempty"` // what each trip waited for, if that was asked for
	Depth        int     `json:"depth,omitempty"`   // trips that the data dependency takes at least with what was in the store, if that was asked for
	Deepest      string  `json:"deepest,omitempty"` // what it depends on, the last trip first

	hole bool // incomplete because the witness lacks something: the only right answer to that
}

// Right says whether the outcome is what the input deserves: all witnesses are of good blocks.
func (r *BlockResult) Right() bool { return r.Outcome == evm.Valid.String() || r.hole }

// Connect makes client and server of one block see each other through a link, the client under
// that id, and returns when both are on their way. It works until ctx ends.
type Connect func(ctx context.Context, group *errgroup.Group, id string, client, server p2p.PeerConfig) error

// Trial is one block to execute on one network.
type Trial struct {
	File        *witnessfile.File
	Warm        []*witnessfile.File // executed before, over the same store
	StoredCode  bool                // the block's contract code is in the store already, and which contract has which is known
	StoredState StoredState         // state that is in the store already
	Strategy    Strategy
	RTT         time.Duration
	Peers       int // each holds exactly the witness of the block in hand; 0 is 1
	Explain     bool
	Depth       bool // measure the depth of the data dependency as well
	Connect     Connect
}

// Run executes the block on a store that is empty but for what Trial puts there.
func (t Trial) Run(ctx context.Context) (*BlockResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	c := newClient(t.File)
	group.Go(func() error { return c.fetcher.Run(ctx) })

	result, err := t.run(ctx, c)
	cancel()
	if err := cmp.Or(group.Wait(), err); err != nil {
		return nil, err
	}
	return result, nil
}

func (t Trial) run(ctx context.Context, c *client) (*BlockResult, error) {
	for _, file := range t.Warm {
		before := t
		before.File, before.Explain, before.Depth = file, false, false
		if result, err := before.block(ctx, c); err != nil {
			return nil, err
		} else if !result.Right() {
			return nil, fmt.Errorf("block %d, which was to be executed before: %s: %s", file.Number, result.Outcome, result.Error)
		}
	}
	if err := t.fillStore(ctx, c); err != nil {
		return nil, err
	}
	return t.block(ctx, c)
}

// block executes t.File with its own peers on what the client holds.
func (t Trial) block(ctx context.Context, c *client) (*BlockResult, error) {
	listing := list(ctx, t.File)
	var deepest *level
	if t.Depth {
		var err error
		if deepest, err = measureDepth(t.File, listing, newStoredView(c, t.File)); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	blocks := newBlockChain(t.File)
	err := t.connect(ctx, group, c, blocks)
	var result *BlockResult
	if err == nil {
		session := c.fetcher.Session(sched.Urgent)
		a := &attempt{
			client:  c,
			file:    t.File,
			headers: &ancestors{chain: blocks, fetcher: c.fetcher},
			source:  &source{Session: session, file: t.File, single: t.Strategy.single()},
			listing: listing,
		}
		begin := time.Now()
		if t.Explain {
			a.source.trips = newTripLog(begin, t.RTT)
			a.headers.trips = a.source.trips
		}
		a.cpu = watchCPU()
		executed := a.run(ctx, t.Strategy)
		used, took := a.cpu.stop(), time.Since(begin)
		if err = c.keep(executed); err == nil {
			result = t.result(executed, session.Stats(), took)
			result.hole = a.source.hole.Load() && executed.Outcome == evm.Incomplete
			result.KeysNeeded = len(a.listing.keys)
			result.KeysAsked, result.KeysVain = a.source.keys(a.listing.keys)
			result.CPU = used
			result.Explain = a.source.trips.trips()
			result.Depth, result.Deepest = deepest.after(), deepest.String()
		}
	}
	cancel()
	if err := cmp.Or(group.Wait(), err); err != nil {
		return nil, err
	}
	return result, nil
}

// connect returns when all peers have joined.
func (t Trial) connect(ctx context.Context, group *errgroup.Group, c *client, blocks *blockChain) error {
	var (
		log    = slog.New(slog.DiscardHandler)
		shared = p2p.PeerConfig{NetworkID: t.File.ChainID, Chain: blocks, Log: log}
		server = shared
		peers  = max(t.Peers, 1)
		joined = make(chan struct{}, peers)
	)
	server.State = blockState{t.File}
	for n := range peers {
		client := shared
		client.OnJoin = func(p *p2p.Peer) { c.fetcher.Join(p); joined <- struct{}{} }
		client.OnLeave = func(p *p2p.Peer) { c.fetcher.Leave(p.ID()) }
		if err := t.Connect(ctx, group, "peer "+strconv.Itoa(n), client, server); err != nil {
			return err
		}
	}
	for range peers {
		select {
		case <-joined:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (t Trial) result(result *evm.Result, fetched trie.FetchStats, took time.Duration) *BlockResult {
	r := &BlockResult{
		ChainID:      t.File.ChainID,
		Number:       t.File.Number,
		Strategy:     string(t.Strategy),
		RTT:          t.RTT.Seconds(),
		Outcome:      result.Outcome.String(),
		Transactions: len(t.File.Block.Transactions()),
		Gas:          t.File.Block.GasUsed(),
		NodesNeeded:  t.File.Size().Nodes,
		NodesFetched: fetched.Nodes,
		Codes:        fetched.Codes,
		Bytes:        fetched.Bytes,
		Trips:        float64(fetched.Trips),
		Requests:     fetched.Requests,
		Seconds:      took.Seconds(),
	}
	if t.RTT > 0 {
		r.Trips = float64(took) / float64(t.RTT)
	}
	if result.Err != nil {
		r.Error = result.Err.Error()
	}
	return r
}

// client is what a node keeps from block to block.
type client struct {
	store      *trie.Cache
	fetcher    *fetch.Fetcher
	executor   *evm.Executor
	prefetcher *prefetch.Prefetcher
}

func newClient(file *witnessfile.File) *client {
	store, executor := trie.NewCache(cacheBytes, nil), evm.NewExecutor(file.Config)
	return &client{
		store:      store,
		fetcher:    fetch.New(fetch.Config{Local: store}),
		executor:   executor,
		prefetcher: prefetch.New(executor, store),
	}
}

// keep commits what a block made, as the importer does.
func (c *client) keep(result *evm.Result) error {
	for hash, code := range result.Codes {
		if err := c.store.PutCode(hash, code); err != nil {
			return err
		}
	}
	return c.store.PutNodes(result.Nodes)
}

// reachBlockTime waits until the block is not in the future. Virtual time begins in 2000, and the
// rules of proof of work look at the clock.
func reachBlockTime(block *types.Block) {
	if ahead := time.Until(time.Unix(int64(block.Time()), 0)); ahead > 0 {
		time.Sleep(ahead)
	}
}

// ancestors gets the headers that BLOCKHASH asks for from the peer, as many at once as it has.
type ancestors struct {
	chain   *blockChain
	fetcher *fetch.Fetcher
	trips   *tripLog // may be nil
	headers sync.Map // common.Hash -> *types.Header
}

func (a *ancestors) LocalHeader(hash common.Hash) *types.Header {
	if header, ok := a.headers.Load(hash); ok {
		return header.(*types.Header)
	}
	return nil
}

func (a *ancestors) Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	if header := a.LocalHeader(hash); header != nil {
		return header, nil
	}
	there := a.chain.ancestry(hash)
	if there == 0 {
		return nil, fmt.Errorf("header %d %x is not in the witness: %w", number, hash, trie.ErrUnavailable)
	}
	a.trips.note(Trip{Headers: there})
	headers, err := a.fetcher.Headers(ctx, hash, there)
	if err != nil {
		return nil, err
	}
	for _, header := range headers {
		a.headers.Store(header.Hash(), header)
	}
	return headers[0], nil
}
