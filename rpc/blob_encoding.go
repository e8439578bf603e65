// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"github.com/ethereum/go-ethereum/crypto/kzg4844"

	"github.com/sunbeam-eth/sunbeam/internal/jsonhex"
)

// The results of getBlobs are encoded into one buffer of the right size: 21 blobs with their proofs are 6 MB of JSON, with all
// of their cells 11 MB. encoding/json, or a buffer that grows, would take a multiple of the time and the memory.

// blobList is the result of GetBlobsV1 to V3: blobs with their proofs; null where the blob is nil.
type blobList struct {
	blobs      []*kzg4844.Blob
	proofs     [][]kzg4844.Proof
	cellProofs bool // each blob has a list of proofs, not one
}

// found counts the blobs.
func (l *blobList) found() (n int) {
	for _, blob := range l.blobs {
		if blob != nil {
			n++
		}
	}
	return n
}

// MarshalJSON implements json.Marshaler.
func (l *blobList) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("null"), nil
	}
	const rest = len(`{"blob":,"proofs":[]},`)
	size := len("[]")
	for i, blob := range l.blobs {
		if blob != nil {
			size += jsonhex.Size(len(blob)) + len(l.proofs[i])*(jsonhex.Size(len(kzg4844.Proof{}))+1)
		}
		size += rest
	}
	out := append(make([]byte, 0, size), '[')
	for i, blob := range l.blobs {
		out = separate(out, i)
		switch {
		case blob == nil:
			out = append(out, "null"...)
		case l.cellProofs:
			out = jsonhex.Append(append(out, `{"blob":`...), blob[:])
			out = append(appendProofs(append(out, `,"proofs":`...), l.proofs[i]), '}')
		default:
			out = jsonhex.Append(append(out, `{"blob":`...), blob[:])
			out = append(jsonhex.Append(append(out, `,"proof":`...), l.proofs[i][0][:]), '}')
		}
	}
	return append(out, ']'), nil
}

func appendProofs(out []byte, proofs []kzg4844.Proof) []byte {
	out = append(out, '[')
	for i := range proofs {
		out = jsonhex.Append(separate(out, i), proofs[i][:])
	}
	return append(out, ']')
}

// cellList is the result of GetBlobsV4: cells of blobs and their proofs; null for a blob that is missing, and for a cell.
type cellList struct {
	cells  [][]*kzg4844.Cell
	proofs [][]*kzg4844.Proof
}

// has says whether a blob is not missing.
func (l *cellList) has(i int) bool { return l.cells[i] != nil && l.proofs[i] != nil }

// found counts the blobs.
func (l *cellList) found() (n int) {
	for i := range l.cells {
		if l.has(i) {
			n++
		}
	}
	return n
}

// MarshalJSON implements json.Marshaler.
func (l *cellList) MarshalJSON() ([]byte, error) {
	if l == nil {
		return []byte("null"), nil
	}
	const rest = len(`{"blob_cells":[],"proofs":[]},`)
	size := len("[]")
	for i := range l.cells {
		size += rest + len(l.cells[i])*(jsonhex.Size(len(kzg4844.Cell{}))+1) + len(l.proofs[i])*(jsonhex.Size(len(kzg4844.Proof{}))+1)
	}
	out := append(make([]byte, 0, size), '[')
	for i := range l.cells {
		if out = separate(out, i); !l.has(i) {
			out = append(out, "null"...)
			continue
		}
		out = append(out, `{"blob_cells":[`...)
		for k, cell := range l.cells[i] {
			if out = separate(out, k); cell == nil {
				out = append(out, "null"...)
			} else {
				out = jsonhex.Append(out, cell[:])
			}
		}
		out = append(out, `],"proofs":[`...)
		for k, proof := range l.proofs[i] {
			if out = separate(out, k); proof == nil {
				out = append(out, "null"...)
			} else {
				out = jsonhex.Append(out, proof[:])
			}
		}
		out = append(out, "]}"...)
	}
	return append(out, ']'), nil
}

// separate appends a comma before all items but the first.
func separate(out []byte, index int) []byte {
	if index > 0 {
		return append(out, ',')
	}
	return out
}
