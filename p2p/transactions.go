// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

// Messages about pooled transactions (devp2p, eth.md).

// SendTransactions broadcasts transactions. Blob transactions must not be broadcast (EIP-4844).
func (p *Peer) SendTransactions(ctx context.Context, txs []*types.Transaction) error {
	return p.write(ctx, msgTransactions, txs)
}

// AnnounceTransactions announces pooled transactions: types, sizes (bytes, network encoding of the
// peer's version) and hashes, lists of one length, and the columns of which the node has the cells,
// for all announced blobs. Over eth/66 it sends only the hashes, and columns only over eth/72.
func (p *Peer) AnnounceTransactions(ctx context.Context, kinds []byte, sizes []uint32, hashes []common.Hash, columns types.CustodyBitmap) error {
	switch {
	case p.link.Version == eth66:
		return p.write(ctx, msgPooledHashes, hashes)
	case p.link.Version < eth.ETH72:
		return p.write(ctx, msgPooledHashes, &eth.NewPooledTransactionHashesPacket71{Types: kinds, Sizes: sizes, Hashes: hashes})
	}
	return p.write(ctx, msgPooledHashes, &eth.NewPooledTransactionHashesPacket72{Types: kinds, Sizes: sizes, Hashes: hashes, Mask: columns})
}

// PooledTransactions requests transactions that the peer announced. The reply omits missing
// ones. Blob transactions have a sidecar whose commitments match their hashes, from eth/72 on
// without blobs; the pool verifies its proofs.
func (p *Peer) PooledTransactions(ctx context.Context, hashes []common.Hash) ([]*types.Transaction, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	txs, err := queryList[*types.Transaction](ctx, p, msgGetPooledTransactions, msgPooledTransactions, len(hashes), replySize(len(hashes), maxTransactionSize, softReplySize), func(id uint64) any {
		return &eth.GetPooledTransactionsPacket{RequestId: id, GetPooledTransactionsRequest: hashes}
	})
	if err != nil {
		return nil, err
	}
	return txs, p.checkTransactions(msgPooledTransactions, txs, p.checkSidecar)
}

// checkTransactions disconnects the peer for a duplicate or for a transaction that check
// rejects.
func (p *Peer) checkTransactions(msg message, txs []*types.Transaction, check func(*types.Transaction) error) error {
	seen := make(map[common.Hash]struct{}, len(txs))
	for _, tx := range txs {
		err := check(tx)
		if _, twice := seen[tx.Hash()]; twice && err == nil {
			err = errors.New("duplicate")
		}
		if err != nil {
			return p.disconnect(KindInvalid, fmt.Errorf("%s: transaction %x: %w", msg, tx.Hash(), err))
		}
		seen[tx.Hash()] = struct{}{}
	}
	return nil
}

func (p *Peer) checkSidecar(tx *types.Transaction) error {
	if tx.Type() != types.BlobTxType {
		return nil
	}
	sidecar := tx.BlobTxSidecar()
	if sidecar == nil {
		return errors.New("blob transaction without sidecar")
	}
	want := len(tx.BlobHashes())
	if p.link.Version >= eth.ETH72 {
		want = 0 // their cells are requested apart
	}
	if len(sidecar.Blobs) != want {
		return fmt.Errorf("%d blobs, not %d, for %d hashes", len(sidecar.Blobs), want, len(tx.BlobHashes()))
	}
	return sidecar.ValidateBlobCommitmentHashes(tx.BlobHashes())
}

func checkWithoutBlobs(tx *types.Transaction) error {
	if tx.Type() == types.BlobTxType {
		return errors.New("broadcast blob transaction")
	}
	return nil
}

// gossip handles broadcast and announced transactions.
func (p *Peer) gossip(in incoming) error {
	if in.msg == msgTransactions {
		return p.transactions(in.payload)
	}
	if p.link.Version == eth66 {
		return p.announced66(in)
	}
	ann, err := p.announcement(in)
	if err != nil {
		return err
	}
	if len(ann.Types) != len(ann.Hashes) || len(ann.Sizes) != len(ann.Hashes) {
		return p.disconnect(KindInvalid, fmt.Errorf("%s: %d hashes, %d types, %d sizes", in.msg, len(ann.Hashes), len(ann.Types), len(ann.Sizes)))
	}
	if p.cfg.Transactions != nil {
		n := min(len(ann.Hashes), maxPooled)
		p.cfg.Transactions.Announced(p, ann.Types[:n], ann.Sizes[:n], ann.Hashes[:n], ann.Mask)
	}
	return nil
}

// announcement decodes an announcement. Before eth/72 its mask is empty.
func (p *Peer) announcement(in incoming) (*eth.NewPooledTransactionHashesPacket72, error) {
	if p.link.Version >= eth.ETH72 {
		return decode[eth.NewPooledTransactionHashesPacket72](p, in.msg, in.payload)
	}
	ann, err := decode[eth.NewPooledTransactionHashesPacket71](p, in.msg, in.payload)
	if err != nil {
		return nil, err
	}
	return &eth.NewPooledTransactionHashesPacket72{Types: ann.Types, Sizes: ann.Sizes, Hashes: ann.Hashes}, nil
}

func (p *Peer) transactions(payload []byte) error {
	var list rlp.RawList[*types.Transaction]
	if err := rlp.DecodeBytes(payload, &list); err != nil {
		return p.disconnect(KindMalformed, fmt.Errorf("%s: %w", msgTransactions, err))
	}
	txs, err := items(p, msgTransactions, &list, maxGossiped)
	if err != nil {
		return err
	}
	if err := p.checkTransactions(msgTransactions, txs, checkWithoutBlobs); err != nil {
		return err
	}
	if p.cfg.Transactions != nil {
		p.cfg.Transactions.Received(p, txs)
	}
	return nil
}

func (p *Peer) servePooledTransactions(query *eth.GetPooledTransactionsPacket) (any, error) {
	var out batch
	if p.cfg.Transactions != nil {
		for _, hash := range query.GetPooledTransactionsRequest[:min(maxPooled, len(query.GetPooledTransactionsRequest))] {
			if out.size >= softReplySize {
				break
			}
			if tx := p.cfg.Transactions.Pooled(hash, p.link.Version); len(tx) > 0 && !out.add(tx) {
				break
			}
		}
	}
	return &eth.PooledTransactionsRLPPacket{RequestId: query.RequestId, PooledTransactionsRLPResponse: out.items}, nil
}
