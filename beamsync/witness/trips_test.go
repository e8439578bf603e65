// SPDX-License-Identifier: LGPL-3.0-or-later

package witness

import (
	"context"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	gethp2p "github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/beamsync/fetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/internal/beamtest"
	"github.com/sunbeam-eth/sunbeam/beamsync/prefetch"
	"github.com/sunbeam-eth/sunbeam/beamsync/sched"
	"github.com/sunbeam-eth/sunbeam/evm"
	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/simnet"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
	"github.com/sunbeam-eth/sunbeam/p2p"
	"github.com/sunbeam-eth/sunbeam/trie"
)

var (
	_ Peer          = (*p2p.Peer)(nil)
	_ p2p.Witnesses = (*Exchange)(nil)
)

// onlyGenesis is a chain for handshakes.
type onlyGenesis struct{ config *params.ChainConfig }

func (c onlyGenesis) Config() *params.ChainConfig { return c.config }

func (c onlyGenesis) Genesis() *types.Block {
	return types.NewBlockWithHeader(&types.Header{Number: new(big.Int), Difficulty: big.NewInt(1)})
}

func (c onlyGenesis) CurrentHeader() *types.Header { return c.Genesis().Header() }

func (c onlyGenesis) Header(common.Hash) *types.Header { return nil }

func (c onlyGenesis) HeaderByNumber(uint64) *types.Header { return nil }

func (c onlyGenesis) Block(common.Hash) *types.Block { return nil }

func (c onlyGenesis) Receipts(common.Hash) types.Receipts { return nil }

func (c onlyGenesis) AccessList(common.Hash) rlp.RawValue { return nil }

func (c onlyGenesis) Oldest() uint64 { return 0 }

// allOf is a full peer for one block.
type allOf struct{ *witnessfile.File }

func (s allOf) State(root common.Hash) p2p.State {
	if held := trie.OpenServed(s.File, nil, root); root == s.PreRoot && held != nil {
		return held
	}
	return nil
}

func (s allOf) Code(hash common.Hash) []byte { return s.Codes[hash] }

// link connects two of our peers with a round-trip time of rtt; both have joined when it returns.
func link(ctx context.Context, running *sync.WaitGroup, name string, client, server p2p.PeerConfig) *p2p.Peer {
	var ends [2]p2p.Link
	slots := func(l *p2p.Link) []*gethp2p.MsgReadWriter {
		return []*gethp2p.MsgReadWriter{&l.Eth, &l.Snap, &l.Wit, &l.Beam}
	}
	var pipes []*simnet.End
	for i := range slots(&ends[0]) {
		a, b := simnet.Pipe(simnet.Link{Delay: beamtest.RTT / 2})
		*slots(&ends[0])[i], *slots(&ends[1])[i] = a, b
		pipes = append(pipes, a)
	}
	joined := make(chan struct{}, 2)
	var peers [2]*p2p.Peer
	for i, cfg := range []p2p.PeerConfig{client, server} {
		cfg.OnJoin = func(*p2p.Peer) { joined <- struct{}{} }
		ends[i].ID, ends[i].Version = name, 71
		ends[i].Close = func(gethp2p.DiscReason) {
			for _, pipe := range pipes {
				pipe.Close()
			}
		}
		peers[i] = p2p.NewPeer(ends[i], cfg)
		running.Go(func() { _ = peers[i].Run(ctx) })
	}
	<-joined
	<-joined
	return peers[0]
}

// twoNodes are two nodes in a bubble: the first one has executed a block, the second one has
// nothing, and knows the first one, which serves no state here, and full peers.
type twoNodes struct {
	file    *witnessfile.File
	ctx     context.Context
	first   *Exchange
	second  *Exchange
	link    *p2p.Peer // the first one, as the second one sees it
	cache   *trie.Cache
	session *fetch.Session // of the second one
}

// withTwoNodes runs a test in virtual time.
func withTwoNodes(t *testing.T, file *witnessfile.File, fullPeers int, test func(t *testing.T, f *twoNodes)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		f := &twoNodes{file: file, ctx: ctx, cache: trie.NewCache(256<<20, nil)}
		f.first = New(Config{Store: always(file)})
		result := f.execute(f.first, trie.Open(ctx, file.PreRoot, file, file))
		if result.Outcome == evm.Incomplete {
			t.Log("the witness file has a hole, nothing can be said:", result.Err)
			return
		}
		if result.Outcome != evm.Valid {
			t.Fatal(result.Err)
		}
		f.second = New(Config{Store: always(f.cache)})
		fetcher := fetch.New(fetch.Config{Local: f.cache})
		running.Go(func() { _ = fetcher.Run(ctx) })
		f.session = fetcher.Session(sched.Urgent)

		shared := p2p.PeerConfig{NetworkID: file.ChainID, Chain: onlyGenesis{file.Config}}
		a, b, full := shared, shared, shared
		a.Witnesses, b.Witnesses, full.State = f.first, f.second, allOf{file}
		f.link = link(ctx, &running, "first", b, a)
		f.second.Join(f.link)
		for i := range fullPeers {
			fetcher.Join(link(ctx, &running, fmt.Sprint("full", i), b, full))
		}
		synctest.Wait()
		test(t, f)
	})
}

// execute runs the block and records what it touched.
func (f *twoNodes) execute(w *Exchange, state *trie.StateDatabase) *evm.Result {
	return w.Executor(evm.NewExecutor(f.file.Config)).Execute(f.ctx, evm.Job{
		Block: f.file.Block, Parent: f.file.Parent, State: state, Headers: f.file,
	})
}

// finish executes the block at the second node and returns the round trips since it began.
func (f *twoNodes) finish(t *testing.T, began time.Time) (trips float64) {
	t.Helper()
	if result := f.execute(f.second, trie.Open(f.ctx, f.file.PreRoot, f.cache, f.session)); result.Outcome != evm.Valid {
		t.Fatal(result.Err)
	}
	if f.second.count(hintUseful) != 1 {
		t.Error("the hint was of no use")
	}
	return float64(time.Since(began)) / float64(beamtest.RTT)
}

// TestTripsWithHints: a node that has nothing asks one that has executed a block for what it
// reads, and fetches that from full peers. Whatever the block does, it is executed after three
// round trips at most: keys, accounts, codes and storage. Nothing is fetched that is not needed.
func TestTripsWithHints(t *testing.T) {
	paths, err := witnessfile.Paths(filepath.Join(realdata.Dir(t), "blocks"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		file, err := witnessfile.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if testing.Short() && len(file.Nodes) > 2000 {
			continue // with the race detector large blocks take long
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			withTwoNodes(t, file, 3, func(t *testing.T, f *twoNodes) {
				began := time.Now()
				if ok, err := f.second.Collect(f.ctx, file.Block, file.PreRoot, f.session); !ok || err != nil {
					t.Fatal(ok, err)
				}
				collected := f.session.Stats()
				trips, stats := f.finish(t, began), f.session.Stats()
				if trips > 3 || stats.Trips > 2 || stats.Faults > collected.Faults {
					t.Errorf("%.1f round trips, %d of them for state; %d faults after collecting", trips, stats.Trips, stats.Faults-collected.Faults)
				}
				if need := uint64(len(file.Nodes)); stats.Nodes > need+need/20 {
					t.Errorf("%d nodes fetched, %d needed", stats.Nodes, need)
				}
				hashes := checkHashes(t, f)
				t.Logf("%d txs, %.1f Mgas: %.1f trips, %d requests, %d nodes and %d codes fetched, %d hashes for the %d nodes and codes of the witness, keys of %d bytes",
					len(file.Block.Transactions()), float64(file.Block.GasUsed())/1e6, trips, stats.Requests, stats.Nodes, stats.Codes,
					hashes, len(file.Nodes)+len(file.Codes), len(f.first.WitnessKeys(file.Block.Hash())))
			})
		})
	}
}

// checkHashes asks for the hashes as well: all of them are of the witness.
func checkHashes(t *testing.T, f *twoNodes) int {
	t.Helper()
	hashes, err := f.link.WitnessHashes(f.ctx, f.file.Block.Hash())
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range hashes {
		if f.file.Nodes[hash] == nil && f.file.Codes[hash] == nil {
			t.Errorf("hash %x is not of the witness", hash)
		}
	}
	if most := len(f.file.Nodes) * 95 / 100; len(hashes) < most {
		t.Errorf("%d hashes, the witness has %d nodes", len(hashes), len(f.file.Nodes))
	}
	return len(hashes)
}

// TestHintsBesideCollector: the hint goes out with the static batch, and both share what they
// fetch. From one full peer the window of requests in flight costs a large block one trip more.
func TestHintsBesideCollector(t *testing.T) {
	for _, name := range []string{"1-21688509", "1-25229957"} {
		if testing.Short() && name == "1-25229957" {
			continue // with the race detector it takes minutes
		}
		file, err := witnessfile.Load(filepath.Join(realdata.Dir(t), "blocks", name+".json.gz"))
		if err != nil {
			t.Fatal(err)
		}
		for _, peers := range []int{1, 3} {
			t.Run(fmt.Sprint(name, "/", peers), func(t *testing.T) {
				withTwoNodes(t, file, peers, func(t *testing.T, f *twoNodes) {
					began := time.Now()
					var both sync.WaitGroup
					both.Go(func() {
						if ok, err := f.second.Collect(f.ctx, file.Block, file.PreRoot, f.session); !ok || err != nil {
							t.Error(ok, err)
						}
					})
					collector := prefetch.New(evm.NewExecutor(file.Config), f.cache)
					_ = collector.Prefetch(f.ctx, file.Block, file.Parent, heldHeaders{file}, f.session)
					both.Wait()
					trips, stats := f.finish(t, began), f.session.Stats()
					if trips > 6 {
						t.Errorf("%.1f round trips", trips)
					}
					t.Logf("%.1f trips, %+v, %d nodes needed", trips, stats, len(file.Nodes))
				})
			})
		}
	}
}

// heldHeaders has every header at hand.
type heldHeaders struct{ *witnessfile.File }

func (h heldHeaders) LocalHeader(hash common.Hash) *types.Header {
	at := slices.IndexFunc(h.Headers, func(header *types.Header) bool { return header.Hash() == hash })
	if at < 0 {
		return nil
	}
	return h.Headers[at]
}
