// SPDX-License-Identifier: LGPL-3.0-or-later

package payloadbuilder

import (
	"context"
	"errors"
	"log/slog"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/gethpeer"
	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/pool"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// localStates opens states for the pool.
type localStates struct{ store trie.Store }

func (s localStates) Open(ctx context.Context, root common.Hash) (pool.StateDatabase, error) {
	return trie.Open(ctx, root, s.store, nil), nil
}

// newTestPool runs the node's pool on a chain until the test ends.
func newTestPool(t *testing.T, c *testChain) *pool.Pool {
	t.Helper()
	p := pool.New(pool.Config{
		Chain: c, Users: localStates{c}, Peers: localStates{c}, Ready: func() error { return nil }, Locals: pool.Locals{Disabled: true},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

// judge is a geth process on the same genesis.
type judge struct {
	*gethrpc.Client
	amsterdam bool
}

func newJudge(t *testing.T, c *testChain) judge {
	t.Helper()
	binary, err := gethpeer.Binary(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	geth, err := gethpeer.Start(t.Context(), gethpeer.Config{
		Binary: binary, Dir: filepath.Join(t.TempDir(), "geth"), Genesis: c.made.Genesis, CacheMB: 64, Args: []string{"--rpc.txfeecap", "0", "--txpool.nolocals"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := geth.Close(); err != nil {
			t.Error(err)
		}
	})
	return judge{geth.RPC(), c.config.AmsterdamTime != nil}
}

// choose makes a block the head of geth.
func (j judge) choose(t *testing.T, hash common.Hash, attributes *engine.PayloadAttributes) engine.ForkChoiceResponse {
	t.Helper()
	method := "engine_forkchoiceUpdatedV3"
	if j.amsterdam {
		method = "engine_forkchoiceUpdatedV4"
	}
	var response engine.ForkChoiceResponse
	if err := j.CallContext(t.Context(), &response, method, engine.ForkchoiceStateV1{HeadBlockHash: hash}, attributes); err != nil {
		t.Fatal(err)
	}
	if response.PayloadStatus.Status != engine.VALID {
		t.Fatalf("geth calls the head %s", response.PayloadStatus.Status)
	}
	return response
}

// judges wants geth to call a payload VALID.
func (j judge) judges(t *testing.T, envelope *engine.ExecutionPayloadEnvelope, beaconRoot common.Hash) {
	t.Helper()
	method := "engine_newPayloadV4"
	if j.amsterdam {
		method = "engine_newPayloadV5"
	}
	requests := []hexutil.Bytes{}
	for _, request := range envelope.Requests {
		requests = append(requests, request)
	}
	var status engine.PayloadStatusV1
	err := j.CallContext(t.Context(), &status, method, envelope.ExecutionPayload, versionedHashes(t, envelope), beaconRoot, requests)
	if err != nil {
		t.Fatal(err)
	}
	if status.Status != engine.VALID {
		reason := ""
		if status.ValidationError != nil {
			reason = *status.ValidationError
		}
		t.Fatalf("geth calls payload %d with %d transactions %s: %s", envelope.ExecutionPayload.Number, len(envelope.ExecutionPayload.Transactions), status.Status, reason)
	}
}

// build returns what geth builds of its own pool.
func (j judge) build(t *testing.T, attributes *Attributes) *engine.ExecutionPayloadEnvelope {
	t.Helper()
	var envelope engine.ExecutionPayloadEnvelope
	if err := j.CallContext(t.Context(), &envelope, "testing_buildBlockV1", attributes.Parent, attributes.PayloadAttributes, nil, "0x"); err != nil {
		t.Fatal(err)
	}
	return &envelope
}

// send adds n random transactions to both pools.
func send(t *testing.T, ours *pool.Pool, geth judge, random *traffic, n int, baseFee *big.Int) {
	t.Helper()
	for user := range users {
		nonce, err := ours.Nonce(t.Context(), testchain.Address(user+1))
		if err != nil {
			t.Fatal(err)
		}
		random.nonces[user+1] = nonce
	}
	for range n {
		tx, user := random.next(t, baseFee)
		if ours.Send(t.Context(), tx) != nil {
			continue
		}
		raw, err := tx.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if err := geth.CallContext(t.Context(), new(common.Hash), "eth_sendRawTransaction", hexutil.Bytes(raw)); err != nil {
			t.Logf("geth refuses a transaction of type %d: %v", tx.Type(), err)
			continue
		}
		if random.random.IntN(50) > 0 { // else the next one replaces it
			random.nonces[user]++
		}
	}
}

// settle waits until both pools have the same number of executable transactions. It returns false if they do not in
// time: which transactions of delegated accounts a pool keeps depends on when it moves to a new head.
func settle(t *testing.T, ours *pool.Pool, geth judge) bool {
	t.Helper()
	var status struct{ Pending, Queued hexutil.Uint64 }
	for range 100 {
		if err := geth.CallContext(t.Context(), &status, "txpool_status"); err != nil {
			t.Fatal(err)
		}
		if pending, _ := ours.Stats(); pending == int(status.Pending) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	pending, queued := ours.Stats()
	t.Logf("pools differ: %d pending and %d queued here, %d and %d in geth", pending, queued, status.Pending, status.Queued)
	return false
}

// TestRandomPools builds blocks of random pools. Geth, which has the same pool, must call each VALID, and its own must
// not be worth more.
func TestRandomPools(t *testing.T) {
	for fork, config := range configs() {
		t.Run(fork, func(t *testing.T) { testRandomPools(t, newTestChain(config), randomPools) })
	}
}

func testRandomPools(t *testing.T, c *testChain, blocks int) {
	geth := newJudge(t, c)
	mine := newTestPool(t, c)
	b := newTestBuilder(t, c, mine)
	random := newTraffic(c.config, 7)
	awaitBlobPool(t, mine, random)
	worst, sum, compared, included, blobs := 1.0, 0.0, 0, 0, 0
	for i := range blocks {
		head := c.CurrentHeader()
		until(t, "pool on the head", func() bool { return onHead(t, mine, c) })
		send(t, mine, geth, random, random.random.IntN(100), eip1559.CalcBaseFee(c.config, head))
		same := settle(t, mine, geth)
		attributes := attributesOn(c, head)
		for n := range random.random.IntN(17) {
			attributes.Withdrawals = append(attributes.Withdrawals, &types.Withdrawal{
				Index: uint64(n), Validator: uint64(n), Address: testchain.FillerAddress(random.random.IntN(400)), Amount: uint64(random.random.IntN(3)),
			})
		}
		built, err := b.BuildOnce(t.Context(), attributes, nil, []byte{})
		if err != nil {
			t.Fatalf("pool %d: %v", i, err)
		}
		ours := built.ExecutionPayloadEnvelope
		geth.judges(t, ours, *attributes.BeaconRoot)
		theirs := geth.build(t, &attributes)
		share := shareOf(ours.BlockValue, theirs.BlockValue)
		if same && share < 0.98 {
			t.Errorf("pool %d: our block with %d transactions is worth %v wei, geth's with %d %v", i, len(ours.ExecutionPayload.Transactions), ours.BlockValue, len(theirs.ExecutionPayload.Transactions), theirs.BlockValue)
		}
		if same {
			compared++
			worst, sum = min(worst, share), sum+share
		}
		included, blobs = included+len(ours.ExecutionPayload.Transactions), blobs+len(ours.BlobsBundle.Blobs)
		next := ours
		if random.random.IntN(2) == 0 {
			next = theirs
			geth.judges(t, theirs, *attributes.BeaconRoot)
		}
		c.adopt(t, blockOf(t, next, attributes.BeaconRoot))
		geth.choose(t, next.ExecutionPayload.BlockHash, nil)
	}
	t.Logf("%d blocks with %d transactions and %d blobs VALID; the %d of equal pools are worth %.4f of geth's on average, %.4f at least",
		blocks, included, blobs, compared, sum/float64(compared), worst)
	if compared < blocks/2 || included < blocks || (blobs == 0) != (c.config.OsakaTime == nil) {
		t.Error("too few transactions were included")
	}
}

// shareOf is the share of another amount, 1 of nothing.
func shareOf(amount, of *big.Int) float64 {
	if of.Sign() == 0 {
		return 1
	}
	share, _ := new(big.Rat).SetFrac(amount, of).Float64()
	return share
}

// awaitBlobPool waits until the pool takes blobs: it opens that part by itself.
func awaitBlobPool(t *testing.T, ours *pool.Pool, random *traffic) {
	t.Helper()
	sidecar := sidecars()[0]
	tx := types.MustSignNewTx(testchain.Key(users), random.signer, &types.BlobTx{ // too little gas: it is always refused
		ChainID: uint256.MustFromBig(random.config.ChainID), Gas: 1, BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar,
	})
	until(t, "blob pool", func() bool {
		err := ours.Send(t.Context(), tx)
		return !errors.Is(err, pool.ErrUnavailable) && !errors.Is(err, pool.ErrNotReady)
	})
}

// onHead says whether the executable transactions of a pool are those of the head: each sender's begin with its nonce.
func onHead(t *testing.T, ours *pool.Pool, c *testChain) bool {
	t.Helper()
	for _, filter := range []txpool.PendingFilter{{}, {BlobTxs: true, BlobVersion: types.BlobSidecarVersion1}} {
		for from, txs := range ours.Pending(filter) {
			if tx := txs[0].Resolve(); tx == nil || tx.Nonce() != c.account(t, from).Nonce {
				return false
			}
		}
	}
	return true
}

// until waits for something that other goroutines do.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for start := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatalf("no %s", what)
		}
	}
}
