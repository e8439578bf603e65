// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"github.com/holiman/uint256"

	"github.com/sunbeam-eth/sunbeam/internal/testchain"
	"github.com/sunbeam-eth/sunbeam/payloadbuilder"
)

// counter is a response of which only the length is kept.
type counter struct {
	header http.Header
	bytes  int
}

func (c *counter) Header() http.Header { return c.header }
func (c *counter) WriteHeader(int)     {}

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return len(p), nil
}

// engineHandler serves the namespace engine over HTTP.
func (n *fakeNode) engineHandler(t testing.TB) http.Handler {
	t.Helper()
	srv := gethrpc.NewServer()
	if err := n.register(srv, []string{"engine"}, &engineAPI{b: n.b, limiter: n.engineCalls}); err != nil {
		t.Fatal(err)
	}
	return srv
}

// serve has a handler answer a call. There is no network, and nothing is decoded: what it costs is what the node spends on it.
func serve(t testing.TB, handler http.Handler, c rpcCall) (size int) {
	t.Helper()
	params, err := json.Marshal(c.params)
	if err != nil {
		t.Fatal(err)
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"` + c.method + `","params":` + string(params) + `}`
	request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	request.Header.Set("content-type", "application/json")
	response := &counter{header: make(http.Header)}
	handler.ServeHTTP(response, request)
	return response.bytes
}

// BenchmarkGetBlobs requests 21 blobs, as many as a block of BPO2 has at most: those in the pool's cache, which has no more
// than a block of the chain's fork, and those that are read from disk, because the cache has cells.
func BenchmarkGetBlobs(b *testing.B) {
	w := genesisOnly("osaka")
	w.genesis.Alloc = testchain.Genesis(w.config, testchain.Funded(7)).Alloc
	w.blocks[0] = w.genesis.ToBlock()
	n := newFakeNode(b, withPoolOn(b, w))
	handler, ours := n.engineHandler(b), n.client(b)
	var hashes []common.Hash
	for i := range byte(7) {
		tx := blobTx(b, uint256.MustFromBig(w.config.ChainID), int(i)+1, 3*i+1, 3*i+2, 3*i+3)
		sendBlobs(b, ours, tx)
		hashes = append(hashes, tx.BlobHashes()...)
	}
	few := types.NewCustodyBitmap([]uint64{1, 20, 40, 60, 80, 100, 120, 127})
	for _, c := range []struct {
		name   string
		cached string // the cache has what this method returns
		rpcCall
	}{
		{"hasBlobs", "engine_getBlobsV2", rpcCall{"engine_hasBlobs", []any{hashes}}},
		{"V2", "engine_getBlobsV2", rpcCall{"engine_getBlobsV2", []any{hashes}}},
		{"V3", "engine_getBlobsV3", rpcCall{"engine_getBlobsV3", []any{hashes}}},
		{"V3_disk", "engine_getBlobsV4", rpcCall{"engine_getBlobsV3", []any{hashes}}},
		{"V4_8_columns", "engine_getBlobsV4", rpcCall{"engine_getBlobsV4", []any{hashes, few}}},
		{"V4", "engine_getBlobsV4", rpcCall{"engine_getBlobsV4", []any{hashes, types.CustodyBitmapAll}}},
		{"V4_disk", "engine_getBlobsV2", rpcCall{"engine_getBlobsV4", []any{hashes, types.CustodyBitmapAll}}},
	} {
		response(ours, rpcCall{"engine_exchangeCapabilities", []any{[]string{c.cached}}})
		response(ours, rpcCall{"engine_hasBlobs", []any{hashes}})
		time.Sleep(time.Second / 2) // until the cache has loaded them
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				size = serve(b, handler, c.rpcCall)
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}

// bigEnvelope is a payload with blobs and 200 transactions of 500 bytes.
func bigEnvelope(blobs int) *engine.ExecutionPayloadEnvelope {
	envelope := fakeEnvelope(9012).ExecutionPayloadEnvelope
	for range 200 {
		envelope.ExecutionPayload.Transactions = append(envelope.ExecutionPayload.Transactions, bytes.Repeat([]byte{7}, 500))
	}
	for range blobs {
		envelope.BlobsBundle.Blobs = append(envelope.BlobsBundle.Blobs, new(kzg4844.Blob)[:])
		envelope.BlobsBundle.Commitments = append(envelope.BlobsBundle.Commitments, make([]byte, 48))
		for range kzg4844.CellProofsPerBlob {
			envelope.BlobsBundle.Proofs = append(envelope.BlobsBundle.Proofs, make([]byte, 48))
		}
	}
	return envelope
}

// BenchmarkGetPayload asks for a payload of 20 blobs, and encodes one: as it is done when the block is built, and as go-ethereum does it
// in each response.
func BenchmarkGetPayload(b *testing.B) {
	payloads := &fakePayloads{ready: make(map[engine.PayloadID]*payloadbuilder.Envelope)}
	handler := newFakeNode(b, func(_ *Config, backend *Backend) { backend.Payloads = payloads }).engineHandler(b)
	id, envelope := engine.PayloadID{3, 7}, bigEnvelope(20)
	payloads.ready[id] = payloadbuilder.NewEnvelope(envelope)
	b.Run("asked", func(b *testing.B) {
		b.ReportAllocs()
		size := 0
		for b.Loop() {
			size = serve(b, handler, rpcCall{"engine_getPayloadV5", []any{id}})
		}
		b.ReportMetric(float64(size), "bytes")
	})
	b.Run("encoded", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			payloadbuilder.NewEnvelope(envelope)
		}
	})
	b.Run("encoded_by_geth", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := envelope.MarshalJSON(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
