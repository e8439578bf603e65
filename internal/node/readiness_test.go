// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"encoding/json"
	"math/big"
	"net/http"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethrpc "github.com/ethereum/go-ethereum/rpc"

	"github.com/sunbeam-eth/sunbeam/beamsync/importer"
)

// voices are all answers of a node about whether it serves the head.
type voices struct {
	Syncing  json.RawMessage
	Latest   hexutil.Uint64
	Nonce    hexutil.Uint64 // pending
	Pending  hexutil.Uint   // txpool_status
	Beam     beamStatus
	Ready    int // HTTP status
	NonceErr error
	SendErr  error
}

// hear asks a node for all of them. It sends a transaction with the pending nonce.
func hear(t *testing.T, n *running) (v voices) {
	t.Helper()
	client, err := gethrpc.Dial(n.cfg.IPCEndpoint())
	check(t, err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	rich := crypto.PubkeyToAddress(richKey.PublicKey)
	check(t, client.CallContext(ctx, &v.Syncing, "eth_syncing"))
	check(t, client.CallContext(ctx, &v.Latest, "eth_blockNumber"))
	v.NonceErr = client.CallContext(ctx, &v.Nonce, "eth_getTransactionCount", rich, "pending")
	tx := types.MustSignNewTx(richKey, types.LatestSigner(n.chain.Config()), &types.DynamicFeeTx{
		ChainID: n.chain.Config().ChainID, Nonce: uint64(v.Nonce), GasFeeCap: big.NewInt(5e9), GasTipCap: big.NewInt(1), Gas: 21000, To: &common.Address{0xab},
	})
	raw, err := tx.MarshalBinary()
	check(t, err)
	v.SendErr = client.CallContext(ctx, new(common.Hash), "eth_sendRawTransaction", hexutil.Bytes(raw))
	var pool map[string]hexutil.Uint
	check(t, client.CallContext(ctx, &pool, "txpool_status"))
	v.Pending = pool["pending"]
	check(t, client.CallContext(ctx, &v.Beam, "beam_status"))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.rpc.Addrs().HTTP+"/ready", nil)
	check(t, err)
	response, err := http.DefaultClient.Do(request)
	check(t, err)
	check(t, response.Body.Close())
	v.Ready = response.StatusCode
	return v
}

// agreed wants all voices of a node that serves a head to say so. sent is how many transactions it has pending before.
func agreed(t *testing.T, when string, n *running, phase importer.Phase, head, mined, sent uint64) {
	t.Helper()
	for range 1000 { // the pool follows the head
		if nonce, err := n.pool.Nonce(t.Context(), crypto.PubkeyToAddress(richKey.PublicKey)); err == nil && nonce == mined+sent {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	switch v := hear(t, n); {
	case v.NonceErr != nil || v.SendErr != nil || uint64(v.Nonce) != mined+sent || uint64(v.Pending) != sent+1:
		t.Errorf("%s: nonce %d (%v), sending: %v, %d pending", when, v.Nonce, v.NonceErr, v.SendErr, v.Pending)
	case string(v.Syncing) != "false" || uint64(v.Latest) != head || v.Ready != http.StatusOK:
		t.Errorf("%s: eth_syncing %s, latest %d, /ready %d", when, v.Syncing, v.Latest, v.Ready)
	case !v.Beam.Ready || v.Beam.Reason != "" || v.Beam.Phase != phase.String() || v.Beam.Head != head:
		t.Errorf("%s: beam_status %+v", when, v.Beam)
	}
}

// TestOneVoice walks nodes through their phases. In each of them all that says whether the node serves the head agrees,
// also before the first forkchoice of a process.
func TestOneVoice(t *testing.T) {
	for _, phase := range []importer.Phase{importer.Beaming, importer.FullNode} {
		t.Run(phase.String(), func(t *testing.T) {
			genesis := pragueGenesis()
			blocks := chainOn(genesis, nil, 4, 0)
			cfg := localConfig(t)
			cfg.Beam.Backfill, cfg.HTTP.Enabled, cfg.HTTP.Port = false, true, 0
			cfg.HTTP.API = []string{"eth"}
			if phase == importer.FullNode {
				check(t, Init(cfg, genesis, discard))
			}
			open := func() *running {
				own := *cfg
				return start(t, withGenesis(t, &own, genesis))
			}
			n := open()
			agreed(t, "at genesis", n, phase, 0, 0, 0)
			n.stop(t)
			n = open()
			waitPooled(t, n, 1)
			agreed(t, "at genesis, after a restart", n, phase, 0, 0, 1)
			bring(t, n, blocks[:2]...)
			waitPhase(t, n, phase)
			agreed(t, "live", n, phase, 2, 8, 0)
			n.stop(t)
			n = open()
			waitPooled(t, n, 1)
			agreed(t, "after a restart", n, phase, 2, 8, 1)
			apart(t, n)
			bring(t, n, blocks[2:]...)
			agreed(t, "live again", n, phase, 4, 16, 0)
			n.stop(t)
		})
	}
}

// apart wants a node whose consensus client chose a head that nobody has to say in all voices that it is not ready. The
// pool goes on with the latest state, as eth_getTransactionCount and eth_call do.
func apart(t *testing.T, n *running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := n.importer.Forkchoice(ctx, importer.Forkchoice{Head: common.Hash{1}})
	check(t, err)
	v := hear(t, n)
	if string(v.Syncing) == "false" || v.Ready != http.StatusServiceUnavailable || v.Beam.Ready || v.Beam.Reason == "" || v.SendErr != nil {
		t.Errorf("unknown head: eth_syncing %s, /ready %d, beam_status %v %q, sending: %v", v.Syncing, v.Ready, v.Beam.Ready, v.Beam.Reason, v.SendErr)
	}
}

// waitPooled waits until the transactions of the journal are in the pool.
func waitPooled(t *testing.T, n *running, want int) {
	t.Helper()
	for range 2000 {
		if pending, _ := n.pool.Stats(); pending == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	pending, queued := n.pool.Stats()
	t.Fatalf("the journal's transactions are not in the pool: %d pending, %d queued, head %d, phase %s, state %v", pending, queued,
		n.chain.CurrentHeader().Number, n.importer.Phase(), n.full() != nil && n.full().Has(n.chain.CurrentHeader().Root))
}

// waitPhase waits until a node is in a phase.
func waitPhase(t *testing.T, n *running, phase importer.Phase) {
	t.Helper()
	for range 1000 {
		if n.importer.Phase() == phase {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the node is not %s", phase)
}
