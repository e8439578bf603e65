package bench

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"golang.org/x/sync/errgroup"

	"github.com/sunbeam-eth/sunbeam/beamsync"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/chain"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/witness"
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
	Outcome      string  `json:"outcome"` // valid, invalid, incomplete
	Error        string  `json:"error"`
	Transactions int     `json:"txs"`
	Gas          uint64  `json:"gas"`
	NodesNeeded  int     `json:"nodesNeeded"`  // in the witness
	NodesFetched uint64  `json:"nodesFetched"` // verified nodes that came in
	Codes        uint64  `json:"codes"`
	Bytes        uint64  `json:"bytes"` // of nodes and codes
	Trips        float64 `json:"trips"` // sequential round trips: virtual time / round-trip time
	Requests     uint64  `json:"requests"`
	Seconds      float64 `json:"seconds"`

	hole bool // incomplete because the witness lacks something: the only right answer to that
}

// Right says whether the outcome is what the input deserves: all witnesses are of good blocks.
func (r *BlockResult) Right() bool { return r.Outcome == evm.Valid.String() || r.hole }

// Connect makes client and server of one block see each other through a link, and returns when
// the client has joined. It works until ctx ends.
type Connect func(ctx context.Context, group *errgroup.Group, client, server p2p.PeerConfig) error

// RunBlock executes a block on an empty store with a peer that holds exactly its witness.
func RunBlock(ctx context.Context, file *witness.File, connect Connect, rtt time.Duration) (*BlockResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)

	var (
		log     = slog.New(slog.DiscardHandler)
		local   = trie.NewCache(cacheBytes, nil)
		fetcher = beamsync.NewFetcher(beamsync.FetcherConfig{Local: local, Log: log})
		blocks  = newBlockChain(file)
		shared  = p2p.PeerConfig{NetworkID: file.ChainID, Chain: blocks, Log: log}
		client  = shared
		server  = shared
		joined  = make(chan struct{})
	)
	client.OnJoin = func(p *p2p.Peer) { fetcher.Join(p); close(joined) }
	client.OnLeave = func(p *p2p.Peer) { fetcher.Leave(p.ID()) }
	server.State = blockState{file}
	group.Go(func() error { return fetcher.Run(ctx) })
	if err := connect(ctx, group, client, server); err != nil {
		cancel()
		return nil, errFirst(group.Wait(), err)
	}
	select {
	case <-joined:
	case <-ctx.Done():
		return nil, errFirst(group.Wait(), ctx.Err())
	}

	session := fetcher.Session(sched.Urgent)
	begin := time.Now()
	source := &witnessSource{Session: session, file: file}
	executor, headers := evm.NewExecutor(file.Config), &ancestors{chain: blocks, fetcher: fetcher}
	// An error of it is no more than a hint missed.
	_ = beamsync.NewCollector(executor, local).Collect(ctx, file.Block, file.Parent, headers, session)
	result := execute(ctx, executor, file, local, source, headers)
	took := time.Since(begin)
	cancel()
	if err := group.Wait(); err != nil {
		return nil, err
	}
	r := newBlockResult(file, result, session.Stats(), took, rtt)
	r.hole = source.hole.Load() && result.Outcome == evm.Incomplete
	return r, nil
}

// witnessSource asks the peer, unless the witness has a hole there: the one peer of this network
// will never have that node, so waiting for it would say nothing. It tells what a network with
// the whole state would not: that the file is to blame.
type witnessSource struct {
	*beamsync.Session
	file *witness.File
	hole atomic.Bool
}

func (s *witnessSource) FetchNode(ctx context.Context, fault trie.Fault) ([]byte, error) {
	if _, held := s.file.Nodes[fault.Hash]; !held {
		s.hole.Store(true)
		return nil, fmt.Errorf("the witness file lacks node %x, which the block reads: %w", fault.Hash, trie.ErrUnavailable)
	}
	return s.Session.FetchNode(ctx, fault)
}

func (s *witnessSource) FetchCode(ctx context.Context, hash common.Hash) ([]byte, error) {
	if _, held := s.file.Codes[hash]; !held {
		s.hole.Store(true)
		return nil, fmt.Errorf("the witness file lacks code %x, which the block reads: %w", hash, trie.ErrUnavailable)
	}
	return s.Session.FetchCode(ctx, hash)
}

func errFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// reachBlockTime waits until the block is not in the future. Virtual time begins in 2000, and the
// rules of proof of work look at the clock.
func reachBlockTime(block *types.Block) {
	if ahead := time.Until(time.Unix(int64(block.Time()), 0)); ahead > 0 {
		time.Sleep(ahead)
	}
}

// execute judges a block as the importer does: header, body, then execution.
func execute(ctx context.Context, executor *evm.Executor, file *witness.File, local trie.Local, source trie.Source, headers evm.Headers) *evm.Result {
	if file.HasParent {
		if err := chain.VerifyHeader(file.Config, file.Block.Header(), file.Parent); err != nil {
			return &evm.Result{Outcome: evm.Invalid, Err: err}
		}
	}
	if err := chain.VerifyBody(file.Config, file.Block); err != nil {
		return &evm.Result{Outcome: evm.Invalid, Err: err}
	}
	return executor.Execute(ctx, evm.Job{
		Block:   file.Block,
		Parent:  file.Parent,
		State:   trie.Open(ctx, file.PreRoot, local, source),
		Headers: headers,
	})
}

func newBlockResult(file *witness.File, result *evm.Result, fetched beamsync.Stats, took, rtt time.Duration) *BlockResult {
	r := &BlockResult{
		ChainID:      file.ChainID,
		Number:       file.Number,
		Outcome:      result.Outcome.String(),
		Transactions: len(file.Block.Transactions()),
		Gas:          file.Block.GasUsed(),
		NodesNeeded:  file.Size().Nodes,
		NodesFetched: fetched.Nodes,
		Codes:        fetched.Codes,
		Bytes:        fetched.Bytes,
		Requests:     fetched.Requests,
		Seconds:      took.Seconds(),
	}
	if rtt > 0 {
		r.Trips = took.Seconds() / rtt.Seconds()
	}
	if result.Err != nil {
		r.Error = result.Err.Error()
	}
	return r
}

// ancestors gets the headers that BLOCKHASH asks for from the peer, as many at once as it has.
type ancestors struct {
	chain   *blockChain
	fetcher *beamsync.Fetcher
	held    sync.Map // common.Hash -> *types.Header
}

func (a *ancestors) Held(hash common.Hash) *types.Header {
	if header, ok := a.held.Load(hash); ok {
		return header.(*types.Header)
	}
	return nil
}

func (a *ancestors) Header(ctx context.Context, hash common.Hash, number uint64) (*types.Header, error) {
	if header := a.Held(hash); header != nil {
		return header, nil
	}
	there := a.chain.ancestry(hash)
	if there == 0 {
		return nil, fmt.Errorf("header %d %x is not in the witness: %w", number, hash, trie.ErrUnavailable)
	}
	headers, err := a.fetcher.Headers(ctx, hash, there)
	if err != nil {
		return nil, err
	}
	for _, header := range headers {
		a.held.Store(header.Hash(), header)
	}
	return headers[0], nil
}
