// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bparams "github.com/ethereum/go-ethereum/beacon/params"
	btypes "github.com/ethereum/go-ethereum/beacon/types"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	bls "github.com/protolambda/bls12-381-util"
	"golang.org/x/time/rate"
)

// gloasEpoch is the epoch of the Gloas fork: the one after the chain's first head.
const gloasEpoch = (bparams.SyncPeriodLength+64)/bparams.EpochLength + 1

// envelopePath is where Gloas's execution blocks are, by beacon block.
const envelopePath = "/eth/v1/beacon/execution_payload_envelopes/"

// beaconAPI is a beacon node as far as a light client sees it. Committees, signatures,
// proofs and blocks are real: whoever follows it must verify all of them. Only the state
// behind a state root is no more than the leaves that a light client asks for.
type beaconAPI struct {
	url        string
	config     bparams.ChainConfig // of the chain, with the checkpoint to start from
	checkpoint btypes.Header
	committees [2]*committee // of periods 0 and 1
	headSlot   uint64

	mu       sync.Mutex
	blocks   map[common.Hash]*beaconBlock
	parents  []common.Hash // parents of the beacon blocks whose execution blocks are there, in order
	last     common.Hash   // the newest beacon block, zero if none
	final    common.Hash   // the finalized beacon block, zero if none
	streams  map[chan string]bool
	requests []string
}

// committee signs with four keys, each of which has 128 seats.
type committee struct {
	keys       []*bls.SecretKey
	serialized btypes.SerializedSyncCommittee
}

func newCommittee(t *testing.T, seed byte) *committee {
	c := new(committee)
	var public []*bls.Pubkey
	for i := range 4 {
		key := new(bls.SecretKey)
		raw := sha256.Sum256([]byte{seed, byte(i)})
		raw[0] = 0 // below the group's order
		check(t, key.Deserialize(&raw))
		pub, err := bls.SkToPk(key)
		check(t, err)
		c.keys, public = append(c.keys, key), append(public, pub)
	}
	seats := make([]*bls.Pubkey, bparams.SyncCommitteeSize)
	for i := range seats {
		seats[i] = public[i%len(public)]
		raw := seats[i].Serialize()
		copy(c.serialized[i*bparams.BLSPubkeySize:], raw[:])
	}
	sum, err := bls.AggregatePubkeys(seats)
	check(t, err)
	raw := sum.Serialize()
	copy(c.serialized[bparams.SyncCommitteeSize*bparams.BLSPubkeySize:], raw[:])
	return c
}

// sign is all seats' signature.
func (c *committee) sign(t *testing.T, root common.Hash) map[string]any {
	signatures := make([]*bls.Signature, 0, bparams.SyncCommitteeSize)
	for i := range bparams.SyncCommitteeSize {
		if i < len(c.keys) {
			signatures = append(signatures, bls.Sign(c.keys[i], root[:]))
		} else {
			signatures = append(signatures, signatures[i%len(c.keys)])
		}
	}
	sum, err := bls.Aggregate(signatures)
	check(t, err)
	raw := sum.Serialize()
	return map[string]any{
		"sync_committee_bits":      "0x" + strings.Repeat("ff", bparams.SyncCommitteeBitmaskSize),
		"sync_committee_signature": "0x" + hex.EncodeToString(raw[:]),
	}
}

// leaves is an SSZ tree of which only some nodes are known, by generalized index.
type leaves map[uint64]common.Hash

func (l leaves) node(index uint64) common.Hash {
	if value, ok := l[index]; ok {
		return value
	}
	for i := range l {
		for i > index {
			i >>= 1
		}
		if i == index {
			left, right := l.node(2*index), l.node(2*index+1)
			return sha256.Sum256(append(left[:], right[:]...))
		}
	}
	return sha256.Sum256([]byte{byte(index)})
}

// branch proves a leaf against node(1).
func (l leaves) branch(index uint64) (siblings []common.Hash) {
	for ; index > 1; index >>= 1 {
		siblings = append(siblings, l.node(index^1))
	}
	return siblings
}

// newBeaconAPI makes a chain whose checkpoint is in the sync period before that of the
// head, so that a client has to follow a committee change.
func newBeaconAPI(t *testing.T) *beaconAPI {
	api := &beaconAPI{
		committees: [2]*committee{newCommittee(t, 1), newCommittee(t, 2)},
		headSlot:   bparams.SyncPeriodLength + 64,
		blocks:     make(map[common.Hash]*beaconBlock),
		streams:    make(map[chan string]bool),
	}
	api.config = bparams.ChainConfig{
		GenesisTime:           uint64(time.Now().Unix()) - 12*(gloasEpoch+1)*bparams.EpochLength,
		GenesisValidatorsRoot: common.Hash{0x42},
	}
	api.config.AddFork("GENESIS", 0, []byte{0, 0, 0, 1}).AddFork("ELECTRA", 0, []byte{5, 0, 0, 1}).AddFork("GLOAS", gloasEpoch, []byte{7, 0, 0, 1})

	state := leaves{
		bparams.StateIndexSyncCommittee(forkElectra):     api.committees[0].serialized.Root(),
		bparams.StateIndexNextSyncCommittee(forkElectra): api.committees[1].serialized.Root(),
	}
	api.checkpoint = btypes.Header{Slot: 320, ProposerIndex: 1, StateRoot: state.node(1)}
	api.config.Checkpoint = api.checkpoint.Hash()

	mux := http.NewServeMux()
	serve := func(path string, answer func(*http.Request) any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			api.mu.Lock()
			defer api.mu.Unlock()
			api.requests = append(api.requests, r.URL.Path)
			value := answer(r)
			if value == nil {
				http.NotFound(w, r)
				return
			}
			if err := json.NewEncoder(w).Encode(value); err != nil {
				t.Error(err)
			}
		})
	}
	serve("/eth/v1/beacon/light_client/bootstrap/{root}", func(r *http.Request) any {
		if r.PathValue("root") != api.config.Checkpoint.Hex() {
			return nil
		}
		return map[string]any{"version": forkElectra, "data": map[string]any{
			"header":                        map[string]any{"beacon": headerJSON(api.checkpoint)},
			"current_sync_committee":        &api.committees[0].serialized,
			"current_sync_committee_branch": state.branch(bparams.StateIndexSyncCommittee(forkElectra)),
		}}
	})
	serve("/eth/v1/beacon/light_client/updates", func(r *http.Request) any {
		if r.FormValue("start_period") != "0" {
			return nil
		}
		return []any{map[string]any{"version": forkElectra, "data": map[string]any{
			"attested_header":            map[string]any{"beacon": headerJSON(api.checkpoint)},
			"next_sync_committee":        &api.committees[1].serialized,
			"next_sync_committee_branch": state.branch(bparams.StateIndexNextSyncCommittee(forkElectra)),
			"sync_aggregate":             api.committees[0].sign(t, api.signingRoot(t, api.checkpoint)),
			"signature_slot":             fmt.Sprint(api.checkpoint.Slot + 1),
		}}}
	})
	serve("/eth/v1/beacon/light_client/optimistic_update", func(*http.Request) any { return api.optimistic(t) })
	serve("/eth/v1/beacon/light_client/finality_update", func(*http.Request) any { return api.finality(t) })
	serve("/eth/v1/beacon/headers/{id}", func(r *http.Request) any {
		if r.PathValue("id") != "head" {
			return nil
		}
		header := api.blocks[api.last].header
		return map[string]any{"finalized": false, "data": map[string]any{
			"root": header.Hash(), "canonical": true,
			"header": map[string]any{"message": headerJSON(header), "signature": "0x"},
		}}
	})
	serve("/eth/v2/beacon/blocks/{root}", func(r *http.Request) any {
		block := api.blocks[common.HexToHash(r.PathValue("root"))]
		if block == nil {
			return nil
		}
		return map[string]any{"version": block.fork, "data": map[string]any{"message": block.message}}
	})
	serve(envelopePath+"{root}", func(r *http.Request) any {
		block := api.blocks[common.HexToHash(r.PathValue("root"))]
		if block == nil || block.envelope == nil {
			return nil
		}
		return map[string]any{"version": block.fork, "data": map[string]any{"message": block.envelope}}
	})
	mux.HandleFunc("GET /eth/v1/events", api.stream)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // event streams last until then
	api.url = server.URL
	return api
}

// asked are the paths that were requested.
func (api *beaconAPI) asked() []string {
	api.mu.Lock()
	defer api.mu.Unlock()
	return slices.Clone(api.requests)
}

func (api *beaconAPI) signingRoot(t *testing.T, header btypes.Header) common.Hash {
	root, err := api.config.Forks.SigningRoot(header.Epoch(), header.Hash())
	check(t, err)
	return root
}

// roots are the parent beacon block roots (EIP-4788) of the execution blocks: of those that
// are there, and of the next.
func (api *beaconAPI) roots() []common.Hash {
	api.mu.Lock()
	defer api.mu.Unlock()
	return append(slices.Clone(api.parents), api.last)
}

// enterGloas makes the next beacon block the first of the Gloas fork.
func (api *beaconAPI) enterGloas() {
	api.mu.Lock()
	defer api.mu.Unlock()
	api.headSlot = gloasEpoch*bparams.EpochLength - 1
}

// extend adds a beacon block for an execution block and notifies the followers. With
// finalize its parent becomes final.
func (api *beaconAPI) extend(t *testing.T, block *types.Block, finalize bool) {
	t.Helper()
	api.mu.Lock()
	defer api.mu.Unlock()
	api.add(t, block, finalize, false)
	api.parents = append(api.parents, *block.BeaconRoot())
}

// withhold adds a beacon block of Gloas whose builder does not publish the execution block.
// It returns the path of the envelope that is not there.
func (api *beaconAPI) withhold(t *testing.T, block *types.Block) string {
	t.Helper()
	api.mu.Lock()
	defer api.mu.Unlock()
	api.add(t, block, false, true)
	return envelopePath + api.last.Hex()
}

func (api *beaconAPI) add(t *testing.T, block *types.Block, finalize, withheld bool) {
	t.Helper()
	if *block.BeaconRoot() != api.last {
		t.Fatalf("block %d has parent beacon root %s, the head is %s", block.NumberU64(), block.BeaconRoot(), api.last)
	}
	api.headSlot++
	if finalize {
		api.final = api.last
	}
	fork := api.config.ForkNameAtSlot(api.headSlot)
	state := leaves{bparams.StateIndexFinalBlock(fork): api.final}
	header := btypes.Header{Slot: api.headSlot, ParentRoot: api.last, StateRoot: state.node(1)}
	var beacon *beaconBlock
	if fork == forkGloas {
		beacon = newGloasBlock(t, header, block, withheld)
	} else {
		beacon = newElectraBlock(t, header, block)
	}
	api.last = beacon.header.Hash()
	api.blocks[api.last] = beacon
	// No "head" events: they announce nothing that is signed. Finality goes first: the client
	// does not send a head to the engine again for it.
	event := func(name string, update any) {
		data, err := json.Marshal(update)
		check(t, err)
		for stream := range api.streams {
			stream <- fmt.Sprintf("event: %s\ndata: %s\n\n", name, data)
		}
	}
	if finalize {
		event("light_client_finality_update", api.finality(t))
	}
	event("light_client_optimistic_update", api.optimistic(t))
}

func (api *beaconAPI) stream(w http.ResponseWriter, r *http.Request) {
	stream := make(chan string, 16)
	api.mu.Lock()
	api.streams[stream] = true
	api.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	// A client takes five events at once, of which three are its own first questions, and one
	// per second after that (go-ethereum, beacon/light/request). It ignores the others.
	pace := rate.NewLimiter(rate.Every(1100*time.Millisecond), 2)
	for {
		select {
		case event := <-stream:
			if pace.Wait(r.Context()) != nil {
				return
			}
			if _, err := w.Write([]byte(event)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// headerJSON is a header as the beacon API spells it: numbers are strings.
func headerJSON(h btypes.Header) any {
	return map[string]any{
		"slot": fmt.Sprint(h.Slot), "proposer_index": fmt.Sprint(h.ProposerIndex),
		"parent_root": h.ParentRoot, "state_root": h.StateRoot, "body_root": h.BodyRoot,
	}
}

func (api *beaconAPI) optimistic(t *testing.T) any {
	last := api.blocks[api.last]
	return map[string]any{"version": last.fork, "data": map[string]any{
		"attested_header": last.lightHeader(t, last.fork),
		"sync_aggregate":  api.committees[1].sign(t, api.signingRoot(t, last.header)),
		"signature_slot":  fmt.Sprint(last.header.Slot + 1),
	}}
}

// finality is nil until a block is final.
func (api *beaconAPI) finality(t *testing.T) any {
	final, last := api.blocks[api.final], api.blocks[api.last]
	if final == nil {
		return nil
	}
	index := bparams.StateIndexFinalBlock(last.fork)
	return map[string]any{"version": last.fork, "data": map[string]any{
		"attested_header":  last.lightHeader(t, last.fork),
		"finalized_header": final.lightHeader(t, last.fork),
		"finality_branch":  leaves{index: api.final}.branch(index),
		"sync_aggregate":   api.committees[1].sign(t, api.signingRoot(t, last.header)),
		"signature_slot":   fmt.Sprint(last.header.Slot + 1),
	}}
}

func keccak(b []byte) common.Hash { return crypto.Keccak256Hash(b) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
