// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"
)

// testCells are cells of blobs in some columns, blob after blob, each with its blob and column.
func testCells(blobs int, columns types.CustodyBitmap) (cells []kzg4844.Cell) {
	for blob := range blobs {
		for _, column := range columns.Indices() {
			cells = append(cells, kzg4844.Cell{byte(blob), byte(column)})
		}
	}
	return cells
}

// blobPool has the cells of every transaction, of as many blobs as the last byte of its hash says.
type blobPool struct {
	pool
	reads *int
}

func (p blobPool) Cells(hash common.Hash, columns types.CustodyBitmap) []kzg4844.Cell {
	if hash[31] > 0 {
		*p.reads++
	}
	return testCells(int(hash[31]), columns)
}

// TestCells: the cells of one transaction arrive in the order in which the pool has them, those of others are omitted.
func TestCells(t *testing.T) {
	chain := newTestChain(t)
	tx := chain.Block(chain.hash(9)).Transactions()[0]
	server := chain.serving()
	server.Transactions = pool{stored: tx}
	c := connect(t, eth.ETH72, true, chain.serving(), server)
	ctx := testContext(t)
	for _, columns := range []types.CustodyBitmap{types.CustodyBitmapAll, types.CustodyBitmapData, types.NewCustodyBitmap([]uint64{3, 70, 127})} {
		found, cells, err := c.client.Cells(ctx, []common.Hash{{1}, tx.Hash(), {2}}, columns)
		if err != nil || !slices.Equal(found, []common.Hash{tx.Hash()}) || len(cells) != 1 || !slices.Equal(cells[0], testCells(2, columns)) {
			t.Fatalf("%x: found %x with %d lists of cells, %v", columns, found, len(cells), err)
		}
	}
	for _, hashes := range [][]common.Hash{nil, {{1}}} {
		if found, _, err := c.client.Cells(ctx, hashes, types.CustodyBitmapAll); err != nil || len(found) > 0 {
			t.Errorf("cells of nothing: %x, %v", found, err)
		}
	}
	if found, _, err := c.client.Cells(ctx, []common.Hash{tx.Hash()}, types.CustodyBitmap{}); err != nil || len(found) > 0 {
		t.Errorf("no columns: %x, %v", found, err)
	}
	if found, _, err := c.server.Cells(ctx, []common.Hash{tx.Hash()}, types.CustodyBitmapAll); err != nil || len(found) > 0 {
		t.Errorf("a peer without a pool: %x, %v", found, err)
	}
	old := connect(t, eth.ETH71, true, chain.serving(), server)
	if _, _, err := old.client.Cells(ctx, []common.Hash{tx.Hash()}, types.CustodyBitmapAll); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("over eth/71: %v", err)
	}
}

// TestCellsOnTheWire: the reply is the one that go-ethereum encodes, with the cells by column, then by blob.
func TestCellsOnTheWire(t *testing.T) {
	columns := types.NewCustodyBitmap([]uint64{5, 9, 100})
	p := NewPeer(Link{ID: "p", Version: eth.ETH72}, PeerConfig{Transactions: blobPool{reads: new(int)}})
	hashes := []common.Hash{{31: 2}, {31: 0}, {31: 1}}
	reply, err := p.serveCells(&eth.GetCellsRequestPacket{RequestId: 7, Hashes: hashes, Mask: columns})
	if err != nil {
		t.Fatal(err)
	}
	got, err := rlp.EncodeToBytes(reply)
	if err != nil {
		t.Fatal(err)
	}
	ordered := [][]kzg4844.Cell{{{0, 5}, {1, 5}, {0, 9}, {1, 9}, {0, 100}, {1, 100}}, {{0, 5}, {0, 9}, {0, 100}}}
	theirs := &eth.CellsPacket{RequestId: 7, Hashes: []common.Hash{hashes[0], hashes[2]}, Mask: columns}
	lists := make([]rlp.RawList[kzg4844.Cell], len(ordered))
	for i, cells := range ordered {
		if lists[i], err = rlp.EncodeToRawList(cells); err != nil {
			t.Fatal(err)
		}
	}
	if theirs.Cells, err = rlp.EncodeToRawList(lists); err != nil {
		t.Fatal(err)
	}
	want, err := rlp.EncodeToBytes(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d, or they differ", len(got), len(want))
	}
}

// TestMaximalCells: the size of a reply and the number of blobs that are read for it are bounded for any request.
func TestMaximalCells(t *testing.T) {
	hashes := make([]common.Hash, 10_000)
	for i := range hashes {
		binary.BigEndian.PutUint64(hashes[i][:], uint64(i))
		hashes[i][31] = params.BlobTxMaxBlobs
	}
	for _, columns := range []types.CustodyBitmap{types.CustodyBitmapAll, types.CustodyBitmapData, types.NewCustodyBitmap([]uint64{1}), {}} {
		reads := 0
		p := NewPeer(Link{ID: "p", Version: eth.ETH72}, PeerConfig{Transactions: blobPool{reads: &reads}})
		reply, err := p.serveCells(&eth.GetCellsRequestPacket{Hashes: hashes, Mask: columns})
		if err != nil {
			t.Fatal(err)
		}
		enc, err := rlp.EncodeToBytes(reply)
		if err != nil {
			t.Fatal(err)
		}
		const largest = 4 << 20 // the soft limit and one transaction
		if len(enc) > largest || reads > maxCellBlobs/params.BlobTxMaxBlobs+1 || (columns == types.CustodyBitmap{}) != (reads == 0) {
			t.Errorf("%x: %d bytes, %d transactions read", columns, len(enc), reads)
		}
	}
}

// TestInvalidCells: replies that contradict themselves or the request end the connection. One with fewer columns
// brings nothing.
func TestInvalidCells(t *testing.T) {
	chain := newTestChain(t)
	columns := types.NewCustodyBitmap([]uint64{2, 64, 127})
	one, two := testCells(1, columns), testCells(2, columns)
	type lists = [][]kzg4844.Cell
	for name, test := range map[string]struct {
		fields []any
		kind   Kind
	}{
		"too many transactions": {[]any{[]common.Hash{{1}, {2}, {3}}, lists{}, columns}, KindExcess},
		"too many lists":        {[]any{[]common.Hash{{1}}, lists{one, one, one}, columns}, KindExcess},
		"lists and hashes":      {[]any{[]common.Hash{{1}, {2}}, lists{one}, columns}, KindInvalid},
		"not requested":         {[]any{[]common.Hash{{3}}, lists{one}, columns}, KindInvalid},
		"twice":                 {[]any{[]common.Hash{{1}, {1}}, lists{one, one}, columns}, KindInvalid},
		"other columns":         {[]any{[]common.Hash{{1}}, lists{one}, types.CustodyBitmapAll}, KindInvalid},
		"incomplete":            {[]any{[]common.Hash{{1}}, lists{two[:5]}, columns}, KindInvalid},
		"too many cells":        {[]any{[]common.Hash{{1}}, lists{testCells(params.BlobTxMaxBlobs+1, columns)}, columns}, KindExcess},
		"short cell":            {[]any{[]common.Hash{{1}}, [][]string{{"cell"}}, columns}, KindMalformed},
		"no columns":            {[]any{[]common.Hash{{1}}, lists{one}}, KindMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			h := newRawPeer(t, eth.ETH72, chain, PeerConfig{NetworkID: 7, Chain: chain})
			result := make(chan error, 1)
			go func() {
				_, _, err := h.peer.Cells(testContext(t), []common.Hash{{1}, {2}}, columns)
				result <- err
			}()
			send(h.eth, eth.CellsMsg, append([]any{readRequest(t, h.eth, eth.GetCellsMsg)}, test.fields...))
			wantProtocolError(t, <-result, test.kind)
			wantProtocolError(t, <-h.over, test.kind)
		})
	}
	h := newRawPeer(t, eth.ETH72, chain, PeerConfig{NetworkID: 7, Chain: chain})
	for _, fields := range [][]any{
		{[]common.Hash{{1}}, lists{one[:1]}, types.NewCustodyBitmap([]uint64{2})},
		{[]common.Hash{{1}}, lists{{}}, columns},
	} {
		result := make(chan error, 1)
		go func() {
			found, _, err := h.peer.Cells(testContext(t), []common.Hash{{1}, {2}}, columns)
			result <- errors.Join(err, errIf(len(found) > 0, "something was found"))
		}()
		send(h.eth, eth.CellsMsg, append([]any{readRequest(t, h.eth, eth.GetCellsMsg)}, fields...))
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
}

func errIf(is bool, text string) error {
	if is {
		return errors.New(text)
	}
	return nil
}

// TestSidecars: a blob transaction has blobs up to eth/71, and none from eth/72 on.
func TestSidecars(t *testing.T) {
	chain := newTestChain(t)
	sidecar := types.NewBlobTxSidecar(types.BlobSidecarVersion1, make([]kzg4844.Blob, 1), make([]kzg4844.Commitment, 1), nil)
	with := types.NewTx(&types.BlobTx{BlobHashes: sidecar.BlobHashes(), Sidecar: sidecar})
	without := with.WithBlobTxSidecar(types.NewBlobTxSidecar(sidecar.Version, nil, sidecar.Commitments, nil))
	for version, txs := range map[uint]struct{ right, wrong *types.Transaction }{eth.ETH71: {with, without}, eth.ETH72: {without, with}} {
		request := func(h *rawPeer, tx *types.Transaction) error {
			result := make(chan error, 1)
			go func() {
				_, err := h.peer.PooledTransactions(testContext(t), []common.Hash{tx.Hash()})
				result <- err
			}()
			send(h.eth, eth.PooledTransactionsMsg, []any{readRequest(t, h.eth, eth.GetPooledTransactionsMsg), []*types.Transaction{tx}})
			return <-result
		}
		h := newRawPeer(t, version, chain, PeerConfig{NetworkID: 7, Chain: chain})
		if err := request(h, txs.right); err != nil {
			t.Errorf("eth/%d: %v", version, err)
		}
		wantProtocolError(t, request(h, txs.wrong), KindInvalid)
	}
}

// FuzzCells answers a request for cells with any fields after the request id. What is accepted has the shape that
// callers rely on.
func FuzzCells(f *testing.F) {
	requested := []common.Hash{{1}, {2}, {3}}
	columns := types.NewCustodyBitmap([]uint64{2, 64, 127})
	list := func(blobs int) rlp.RawValue {
		enc, err := encodeCells(testCells(blobs, columns), columns.OneCount())
		if err != nil {
			f.Fatal(err)
		}
		return enc
	}
	seed := func(hashes []common.Hash, mask types.CustodyBitmap, lists ...rlp.RawValue) {
		enc, err := rlp.EncodeToBytes([]any{hashes, lists, mask})
		if err != nil {
			f.Fatal(err)
		}
		content, _, err := rlp.SplitList(enc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	seed(requested[:2], columns, list(1), list(6))
	seed(requested[:1], columns, list(7))
	seed([]common.Hash{{1}, {1}}, columns, list(1), list(1))
	seed(requested[:1], columns, rlp.RawValue{0xc0})
	seed(requested[:1], types.CustodyBitmapAll, list(1))
	seed(nil, types.CustodyBitmap{})
	f.Fuzz(func(t *testing.T, fields []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var p *Peer
		stream := answering{func(id uint64) {
			payload, err := rlp.MergeListValues([][]byte{rlp.AppendUint64(nil, id), fields})
			if err != nil {
				panic(err)
			}
			p.inFlight.deliver(id, msgCells, payload)
		}}
		p = NewPeer(Link{ID: "fuzz", Version: eth.ETH72, Eth: stream}, PeerConfig{})
		found, cells, err := p.Cells(ctx, requested, columns)
		var violation *ProtocolError
		if err != nil && (!errors.As(err, &violation) || len(found) > 0) {
			t.Fatalf("%v is no protocol error, or comes with cells", err)
		}
		if len(found) != len(cells) || len(found) > len(requested) {
			t.Fatalf("%d lists for %d transactions", len(cells), len(found))
		}
		for i, hash := range found {
			n := len(cells[i])
			if !slices.Contains(requested, hash) || slices.Contains(found[:i], hash) || n == 0 || n%3 != 0 || n > 3*params.BlobTxMaxBlobs {
				t.Fatalf("%d cells of %x", n, hash)
			}
		}
	})
}
